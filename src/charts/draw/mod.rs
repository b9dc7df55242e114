//! The drawing.
mod layout;
mod model;
mod svg;
mod text;
/// x
pub fn dump(e: &crate::charts::explore::Exploration) -> String {
    svg::svg(&model::Model::of(e))
}
