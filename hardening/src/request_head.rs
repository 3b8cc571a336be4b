//! The size of the headers of a request.

use actix_web::dev::ServiceRequest;

/// The default limit for the size of the headers, in bytes. This is enough for all cookies that a
/// browser stores for a domain. actix itself accepts up to 128 KiB.
pub const MAX_SIZE: usize = 16 * 1024;

/// Returns the approximate size, in bytes, of the request line and the header fields in HTTP/1.1.
#[must_use]
pub fn size(request: &ServiceRequest) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    request.method().as_str().len() + target + " HTTP/1.1\r\n".len() + fields.sum::<usize>()
}
