//! What session-reaper costs, beside the best loops that one could write by hand, beside what most projects have, and
//! beside one DELETE; all in one run, interleaved, on tables that are alike to the byte.
//!
//! Read [`measure()`] first: the rounds. What is measured is data: [`case`] has the states of the table, [`way`] the ways to
//! empty it, [`gate`] the subcommands that have to be quick.
//!
//! ```text
//! main ─→ measure ─→ server   a template for each layout, a copy for each measurement
//!            │       process  a program, its time and its peak memory
//!            └─→ results ─→ goals
//! ```

pub mod case;
pub mod gate;
mod goals;
mod measure;
mod process;
mod results;
mod server;
pub mod way;

pub use measure::{Options, measure};
pub use results::{COLUMNS, Measured, Results};
