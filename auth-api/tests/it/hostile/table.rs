//! A table of test cases, which collects all failures.

use testkit::{Answer, AuthApi, Database};

/// A problem document's status and `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(u16, &'static str);

/// A request that the endpoint does not accept. Its credentials are not checked.
pub(crate) const MALFORMED: Refusal = Refusal(400, "malformed");
/// An address that cannot log in.
pub(crate) const INVALID_ADDRESS: Refusal = Refusal(400, "invalid_address");
/// A login that is rejected, for any reason.
pub(crate) const LOGIN_REFUSED: Refusal = Refusal(401, "login_refused");
/// A refresh that is rejected, for any reason.
pub(crate) const REFRESH_REFUSED: Refusal = Refusal(401, "refresh_refused");
/// A missing or invalid credential.
pub(crate) const UNAUTHENTICATED: Refusal = Refusal(401, "unauthenticated");
/// A body over the limit.
pub(crate) const TOO_LARGE: Refusal = Refusal(413, "too_large");
/// A body that is not JSON, or is compressed.
pub(crate) const UNSUPPORTED: Refusal = Refusal(415, "unsupported_media_type");

/// The failed cases of a table. All of them are reported, not only the first.
#[derive(Default)]
pub(crate) struct Table {
    cases: usize,
    wrong: Vec<String>,
}

impl Table {
    /// Records whether the response to a case is this problem document (RFC 9457) and sets no
    /// cookie.
    pub(crate) fn refused(&mut self, name: &str, why: &str, refusal: Refusal, answer: &Answer) {
        let Refusal(status, code) = refusal;
        let as_expected = answer.status == status
            && answer.body["code"] == code
            && answer.body["status"] == status
            && answer
                .headers
                .get("content-type")
                .is_some_and(|kind| kind == "application/problem+json")
            && !answer.headers.contains_key("set-cookie");
        self.holds(name, &format!("{status} {code}: {why}"), as_expected, answer);
    }

    /// Records the result of a case. If `holds` is `false`, the failure report shows the expected
    /// and the actual result.
    pub(crate) fn holds(
        &mut self,
        name: &str,
        expected: &str,
        holds: bool,
        seen: &impl std::fmt::Debug,
    ) {
        self.cases += 1;
        if !holds {
            self.wrong.push(format!("{name}\n  expected {expected}\n  seen     {seen:?}"));
        }
    }

    /// Fails if a case failed, or if there are no cases.
    #[track_caller]
    pub(crate) fn end(self) {
        let (wrong, cases) = (self.wrong.len(), self.cases);
        assert!(wrong == 0, "{wrong} of {cases} cases failed\n{}", self.wrong.join("\n"));
        assert!(cases > 0, "the table is empty");
    }
}

/// Starts an API without rate limits, because a table sends more requests than the limits allow.
pub(crate) async fn start(database: &Database) -> AuthApi {
    AuthApi::start(database, &[("RATE_LIMIT", "off")]).await
}
