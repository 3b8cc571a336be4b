//! PostgreSQL, as both programs use it, without Diesel and without libpq.
//!
//! - [`connect`] opens connections: the URL, time limits and the application name. [`tls`] verifies
//!   certificates.
//! - [`error_text`] formats errors without values of rows.
//! - [`owners`] finds the roles whose objects may run as the current role, and [`trusted_tables`]
//!   the tables that may be written to by name.
//! - [`migration_lock`] keeps two processes from applying migrations at the same time.

pub mod connect;
mod connect_error;
pub mod error_text;
pub mod migration_lock;
pub mod owners;
pub mod tls;
pub mod trusted_tables;
