//! A package that is on the worker's side already: brought into the job's directory, and prepared there. The file
//! itself is only read.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::names::shown_path;
use super::plan::Plan;
use super::receive::FileSink;
use super::send::FileSource;
use super::work::{self, Failure, JobSettings, Prepared};
use crate::actors::transfer::Milestones;
use crate::files::{Flow, Reception};
use crate::wire::PackageKind;
use crate::worker::paths::InputFile;

/// Copies an open file to where a package that is sent would be received, with the same bounds and milestones.
pub async fn fetch(input: InputFile, sink: FileSink, milestones: Milestones) {
    let copied = async {
        let mut source = match FileSource::of(input.file, Path::new(&input.name)) {
            Ok(source) => source,
            Err(error) => return milestones.broke(error).await,
        };
        let mut reception = Reception::new(sink, milestones.clone());
        loop {
            match source.next().await {
                Ok(Some(chunk)) => {
                    // What broke has been reported.
                    if reception.take(chunk).await == Flow::Over {
                        return;
                    }
                }
                Ok(None) => {
                    reception.finish().await;
                    return;
                }
                Err(error) => return milestones.broke(error).await,
            }
        }
    };
    tokio::select! {
        () = copied => {}
        () = milestones.stopped() => {}
    }
}

/// Prepares what was fetched: a `.zip` is unpacked, a `.slp` is the whole package itself. Anything else is refused:
/// the original runs those where they are, and a job would write into the input directory. Blocks.
///
/// # Errors
/// As for a package that was sent, and for a file of another kind.
pub fn prepare(
    package: &Path,
    into: &Path,
    kind: Option<&PackageKind>,
    output_dir: Option<&str>,
    settings: &JobSettings,
    cancelled: &AtomicBool,
) -> Result<Prepared, Failure> {
    let failed = |message: String| Failure::new("EXECUTION_ERROR", message);
    let extension = package.extension().unwrap_or_default();
    if extension.eq_ignore_ascii_case("zip") {
        return work::prepare(package, into, kind, output_dir, settings, cancelled);
    }
    if !extension.eq_ignore_ascii_case("slp") {
        return Err(failed(format!(
            "{} is neither a .zip package nor a .slp file; put a package into the worker's input directory",
            shown_path(package)
        )));
    }
    std::fs::create_dir(into)
        .and_then(|()| std::fs::rename(package, into.join(package.file_name().unwrap_or_default())))
        .map_err(|error| failed(format!("the job's directory cannot be made: {error}")))?;
    let plan =
        Plan::for_package(into, kind, output_dir).map_err(|error| failed(error.to_string()))?;
    Prepared::allowed(into.to_owned(), plan, into, settings)
}
