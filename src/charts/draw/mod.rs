//! The drawing: a page and a picture of every chart, and the same in Mermaid and SCXML; and the page of the close codes.
//!
//! Everything here is made from what the [explorer](super::explore) saw, so it shows what runs, and it is the same to
//! the byte for the same charts.

mod close_codes;
mod layout;
mod mermaid;
mod model;
mod page;
mod picture;
mod scxml;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::explore::{Exploration, explore};
use super::machine::Chart;
use super::{ChartVisitor, visit_all};
use model::Model;

/// What every file begins with; nothing without it is overwritten or removed.
const MARK: &str = "Written by `loaner charts` from the code. Do not edit.";

/// A form in which a chart can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A Markdown page with tables; the picture is a file of its own.
    Pages,
    /// Mermaid's `stateDiagram-v2`.
    Mermaid,
    /// State Chart XML of the W3C.
    Scxml,
    /// The picture.
    Svg,
}

/// There is no chart of this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no chart \"{name}\"; there are {}", .known.join(", "))]
pub struct UnknownChart {
    /// The name that was asked for.
    pub name: String,
    /// The names that there are.
    pub known: Vec<&'static str>,
}

/// What is wrong with a file of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It is not what the code says.
    Changed,
    /// It belongs to a chart that is gone.
    Superfluous,
    /// It cannot be read.
    Unreadable(io::ErrorKind),
}

/// A file that is not as [`write_pages`] would leave it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} {fault}: run `loaner charts`", .path.display())]
pub struct Stale {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => f.write_str("is missing"),
            Fault::Changed => f.write_str("is not what the code says"),
            Fault::Superfluous => f.write_str("belongs to a chart that is gone"),
            Fault::Unreadable(kind) => write!(f, "cannot be read ({kind})"),
        }
    }
}

/// Explores all charts, or the one of this name.
struct Explorer<'a> {
    only: Option<&'a str>,
    known: Vec<&'static str>,
    seen: Vec<Exploration>,
}

impl ChartVisitor for Explorer<'_> {
    fn visit<C: Chart>(&mut self) {
        self.known.push(C::NAME);
        if self.only.is_none_or(|name| name == C::NAME) {
            self.seen.push(explore::<C>());
        }
    }
}

impl<'a> Explorer<'a> {
    fn run(only: Option<&'a str>) -> Self {
        let mut explorer = Explorer {
            only,
            known: Vec::new(),
            seen: Vec::new(),
        };
        visit_all(&mut explorer);
        explorer
    }
}

/// Shows the chart of this name, or one after the other all that there are.
///
/// # Errors
/// [`UnknownChart`] if there is none of this name.
pub fn render(format: Format, chart_name: Option<&str>) -> Result<String, UnknownChart> {
    let explorer = Explorer::run(chart_name);
    if let (Some(name), []) = (chart_name, explorer.seen.as_slice()) {
        return Err(UnknownChart {
            name: name.to_owned(),
            known: explorer.known,
        });
    }
    let texts: Vec<String> = explorer
        .seen
        .iter()
        .map(|seen| show(format, seen))
        .collect();
    Ok(texts.join("\n"))
}

fn show(format: Format, seen: &Exploration) -> String {
    let model = Model::of(seen);
    match format {
        Format::Pages => page::page(&model),
        Format::Mermaid => mermaid::mermaid(&model),
        Format::Scxml => scxml::scxml(&model),
        Format::Svg => svg::svg(&model),
    }
}

/// The names and contents of all files, by name.
fn files() -> Vec<(String, String)> {
    let all = Explorer::run(None).seen;
    let mut files = vec![
        ("README.md".to_owned(), page::index(&all)),
        (close_codes::CLOSE_CODES.to_owned(), close_codes::page()),
    ];
    for seen in &all {
        files.push((format!("{}.md", seen.name), show(Format::Pages, seen)));
        files.push((format!("{}.svg", seen.name), show(Format::Svg, seen)));
    }
    files.sort();
    files
}

/// The files in a directory that were written by [`write_pages`], but are none of these.
fn superfluous(dir: &Path, files: &[(String, String)]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let ours = (path.extension()).is_some_and(|end| end == "md" || end == "svg");
        let wanted = |name: &str| files.iter().any(|(file, _)| file == name);
        let name = path.file_name().map(|name| name.to_string_lossy());
        if ours && path.is_file() && !name.is_some_and(|name| wanted(&name)) && is_marked(&path)? {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_marked(path: &Path) -> io::Result<bool> {
    let content = fs::read(path)?;
    let mark = MARK.as_bytes();
    Ok(content.windows(mark.len()).any(|part| part == mark))
}

/// Writes the pages and pictures of all charts, their index and the close codes, and removes those of charts that are gone. Creates the
/// directory if need be. Returns the files that it wrote or removed; what is as it should be is left alone.
///
/// # Errors
/// What the file system reports; `AlreadyExists` where a file of the same name was not written by this function.
pub fn write_pages(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(dir)?;
    let files = files();
    let paths = || {
        files
            .iter()
            .map(|(name, content)| (dir.join(name), content))
    };
    for (path, _) in paths() {
        if path.exists() && !is_marked(&path)? {
            let text = format!("{} was not written by `loaner charts`", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
    }
    let mut touched = superfluous(dir, &files)?;
    for path in &touched {
        fs::remove_file(path)?;
    }
    for (path, content) in paths() {
        if fs::read(&path).ok().as_deref() != Some(content.as_bytes()) {
            fs::write(&path, content)?;
            touched.push(path);
        }
    }
    Ok(touched)
}

/// Checks that the directory is as [`write_pages`] would leave it.
///
/// # Errors
/// Every file that is missing, changed or superfluous.
pub fn check_pages(dir: &Path) -> Result<(), Vec<Stale>> {
    let files = files();
    let mut stale = Vec::new();
    for (name, content) in &files {
        let path = dir.join(name);
        let fault = match fs::read(&path) {
            Ok(found) if found == content.as_bytes() => continue,
            Ok(_) => Fault::Changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Fault::Missing,
            Err(error) => Fault::Unreadable(error.kind()),
        };
        stale.push(Stale { path, fault });
    }
    match superfluous(dir, &files) {
        Ok(paths) => stale.extend(paths.into_iter().map(|path| Stale {
            path,
            fault: Fault::Superfluous,
        })),
        // The files are missing, then, and that was said.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => stale.push(Stale {
            path: dir.to_owned(),
            fault: Fault::Unreadable(error.kind()),
        }),
    }
    if stale.is_empty() { Ok(()) } else { Err(stale) }
}
