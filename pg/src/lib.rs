//! The PostgreSQL code that both programs share. It uses neither Diesel nor libpq.
//!
//! - [`connect`] parses the URL, and opens connections with time limits and an application name.
//!   [`tls`] verifies certificates.
//! - [`error_text`] formats errors without values from rows.
//! - [`owners`] finds the roles whose objects may run with the privileges of the current role, and
//!   [`trusted_tables`] looks up tables by name and checks whether a program may write to them.
//! - [`migration_lock`] prevents two processes from applying migrations at the same time.

pub mod connect;
mod connect_error;
pub mod error_text;
pub mod migration_lock;
pub mod owners;
pub mod tls;
pub mod trusted_tables;
