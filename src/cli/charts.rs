//! `loaner charts`.

use loaner::charts::draw;

use super::args::{ChartsArgs, Format};
use super::exit::{Exit, Failure};

/// Writes, prints or checks the pages of the charts; the page of the close codes is written and checked with them.
pub fn run(args: &ChartsArgs) -> Result<(), Failure> {
    if let Some(format) = args.format {
        let format = match format {
            Format::Mermaid => draw::Format::Mermaid,
            Format::Scxml => draw::Format::Scxml,
            Format::Svg => draw::Format::Svg,
        };
        let text = draw::render(format, args.chart.as_deref())
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        print!("{text}");
        return Ok(());
    }
    if args.check {
        return draw::check_pages(&args.dir).map_err(|stale| {
            let list: Vec<_> = stale.iter().map(ToString::to_string).collect();
            Failure::say(Exit::Other, list.join("\n"))
        });
    }
    if args.chart.is_some() {
        return Err(Failure::say(
            Exit::Usage,
            "the pages are written together; to print one chart, add --format",
        ));
    }
    let written = draw::write_pages(&args.dir)
        .map_err(|error| Failure::say(Exit::File, format!("{}: {error}", args.dir.display())))?;
    if written.is_empty() {
        println!(
            "The pages in {} are what the code says.",
            args.dir.display()
        );
    }
    for path in written {
        println!("{}", path.display());
    }
    Ok(())
}
