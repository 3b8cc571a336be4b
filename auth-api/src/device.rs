//! Human-readable device names from user agents.

use woothee::parser::{Parser, WootheeResult};

/// Returns a name such as "Firefox on Windows 10" for a known browser, and otherwise the first word
/// of the user agent ("curl/8.5.0"), truncated to 64 characters.
pub(crate) fn device(user_agent: &str) -> String {
    let browser = |found: &WootheeResult<'_>| {
        [found.name, found.os].iter().all(|part| !part.is_empty() && *part != "UNKNOWN")
    };
    match Parser::new().parse(user_agent).filter(browser) {
        Some(found) => format!("{} on {}", found.name, found.os),
        None => {
            user_agent.split_whitespace().next().unwrap_or("unknown").chars().take(64).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::device;

    #[test]
    fn device_is_a_browser_name_or_the_first_word() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Windows 10",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
                "Safari on Mac OSX",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            ("curl/8.5.0", "curl/8.5.0"),
            ("my-wallet/2.1 (build 7)", "my-wallet/2.1"),
            ("", "unknown"),
        ] {
            assert_eq!(device(user_agent), expected, "{user_agent}");
        }
    }
}
