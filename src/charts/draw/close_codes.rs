//! The page of the codes with which the hub closes a socket.

use strum::IntoEnumIterator as _;

use super::MARK;
use super::page::{Table, cell, code, section};
use crate::charts::explore::time;
use crate::wire::close::{CloseCode, RESUME_TIME, Return};

/// The name of the file.
pub(super) const CLOSE_CODES: &str = "close-codes.md";

/// The page: every code by its number, and what each way of coming back asks for.
pub(super) fn page() -> String {
    let mut page = format!(
        "<!-- {MARK} -->\n\n# Close codes\n\nWhen the hub closes a socket, the close frame says why: with a number, by which the \
         peer decides whether to come back, and with a few words for people. The numbers below 4000 are WebSocket's own; \
         those above are Loaner's. A line that breaks has neither (most libraries then report 1006): it is to be taken as \
         {}. [The chart of a socket at the hub](hub_connection.md) shows what comes before and after.\n",
        CloseCode::PingTimeout.code(),
    );
    section(&mut page, "The codes", &codes());
    section(&mut page, "Whether to come back", &returns());
    page
}

fn codes() -> String {
    let mut codes: Vec<CloseCode> = CloseCode::iter().collect();
    codes.sort_by_key(|code| code.code());
    let mut table = Table::new(&[
        "Code", "Name", "Words", "Come back?", "Session kept", "What it means",
    ]);
    for one in codes {
        let kept = if one.is_resumable() {
            time(RESUME_TIME)
        } else {
            "no".to_owned()
        };
        table.row(&[
            one.code().to_string(),
            code(one.as_ref()),
            cell(one.reason()),
            name(one.comeback()),
            kept,
            cell(one.about()),
        ]);
    }
    format!(
        "{}\nOnly a device's session is kept: what it has not acknowledged, and the receipts that it is owed, so that it can go on \
         where it was.\n",
        table.text
    )
}

fn returns() -> String {
    let mut table = Table::new(&["Come back?", "What that asks for"]);
    for one in Return::iter() {
        table.row(&[name(one), cell(one.about())]);
    }
    table.text
}

fn name(comeback: Return) -> String {
    format!("**{}**", comeback.as_ref().replace('_', " "))
}
