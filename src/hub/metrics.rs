//! The bodies of `/health` and `/metrics`.

use serde_json::{Value, json};

use super::table::Snapshot;

/// `/health` at `epoch` seconds since 1970.
pub(super) fn health(epoch: f64) -> Value {
    json!({"status": "healthy", "timestamp": timestamp(epoch), "version": env!("CARGO_PKG_VERSION")})
}

/// `/metrics`: JSON, as in the original, and not Prometheus' format.
pub(super) fn metrics(figures: &Snapshot, epoch: f64) -> Value {
    json!({
        "timestamp": timestamp(epoch),
        "active_rooms": figures.active_rooms,
        "active_connections": figures.active_connections,
        "peers_by_role": figures.peers_by_role,
        "total_connections": figures.total_connections,
        "total_messages": figures.total_messages,
        "rooms_created": figures.rooms_created,
    })
}

/// ISO 8601 in UTC with microseconds and, as in the original, no zone.
fn timestamp(epoch: f64) -> String {
    let seconds = epoch.max(0.0) as i64;
    let micros = (epoch.max(0.0).fract() * 1e6) as u32;
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The civil date of a day number, counted in years that begin in March, so that the leap day is the last one, and
    // from 0000-03-01, which is 719 468 days before 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (epoch, iso) in [
            (0.0, "1970-01-01T00:00:00.000000"),
            (951_782_400.25, "2000-02-29T00:00:00.250000"),
            (951_868_799.0, "2000-02-29T23:59:59.000000"),
            (951_868_800.0, "2000-03-01T00:00:00.000000"),
            (1_765_400_000.5, "2025-12-10T20:53:20.500000"),
            (4_107_542_400.0, "2100-03-01T00:00:00.000000"),
        ] {
            assert_eq!(timestamp(epoch), iso);
        }
    }
}
