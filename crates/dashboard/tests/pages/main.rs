//! Every page over HTTP, from a fake aggregator: what it says, its headers, its escaping, its form; and the contrast
//! of the style sheet's colours.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod browse;
mod contents;
mod headers;
mod hostile;
mod html;
mod look;
mod world;
