//! The PostgreSQL code that auth-api and session-reaper share. It uses neither Diesel nor libpq.
//!
//! - [`connect`] parses the URL of a database, and opens connections with time limits and an
//!   application name. [`tls`] verifies certificates.
//! - [`error_text`] formats errors for logs, without the values of rows that the server quotes in
//!   them.
//! - [`owners`] finds the trusted roles: the roles whose functions and triggers may run with the
//!   privileges of the current role. [`trusted_tables`] looks up tables by name and checks that
//!   their owners are trusted.
//! - [`migration_lock`] prevents two processes from applying migrations at the same time.

pub mod connect;
mod connect_error;
pub mod error_text;
pub mod migration_lock;
pub mod owners;
pub mod tls;
pub mod trusted_tables;
