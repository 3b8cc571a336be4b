//! A table of cases, and what went otherwise than it says.

use testkit::{Answer, AuthApi, Database};

/// A problem document's status and `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(u16, &'static str);

/// Not what the endpoint takes: nobody's credentials were looked at.
pub(crate) const MALFORMED: Refusal = Refusal(400, "malformed");
/// Not an address that can log in.
pub(crate) const INVALID_ADDRESS: Refusal = Refusal(400, "invalid_address");
/// A login that is refused, for whatever reason.
pub(crate) const LOGIN_REFUSED: Refusal = Refusal(401, "login_refused");
/// A refresh that is refused, for whatever reason.
pub(crate) const REFRESH_REFUSED: Refusal = Refusal(401, "refresh_refused");
/// No credential, or none that is any good.
pub(crate) const UNAUTHENTICATED: Refusal = Refusal(401, "unauthenticated");
/// A body over the limit.
pub(crate) const TOO_LARGE: Refusal = Refusal(413, "too_large");
/// A body that is not JSON, or is compressed.
pub(crate) const UNSUPPORTED: Refusal = Refusal(415, "unsupported_media_type");

/// The cases of a table that went wrong. All of them are told, not the first alone.
#[derive(Default)]
pub(crate) struct Table {
    cases: usize,
    wrong: Vec<String>,
}

impl Table {
    /// The answer to the case of this name must be that problem document (RFC 9457), and carry no
    /// credential.
    pub(crate) fn refused(&mut self, name: &str, why: &str, refusal: Refusal, answer: &Answer) {
        let Refusal(status, code) = refusal;
        let as_it_should_be = answer.status == status
            && answer.body["code"] == code
            && answer.body["status"] == status
            && answer
                .headers
                .get("content-type")
                .is_some_and(|kind| kind == "application/problem+json")
            && !answer.headers.contains_key("set-cookie");
        self.holds(name, &format!("{status} {code}: {why}"), as_it_should_be, answer);
    }

    /// Whether the case of this name went as it should; if not, what was expected and what was
    /// seen.
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

    /// Fails if a case went wrong, or if there was none.
    #[track_caller]
    pub(crate) fn end(self) {
        let (wrong, cases) = (self.wrong.len(), self.cases);
        assert!(wrong == 0, "{wrong} of {cases} cases went wrong\n{}", self.wrong.join("\n"));
        assert!(cases > 0, "the table is empty");
    }
}

/// An API of the test's own. The tables are longer than any honest client's minute: limits have
/// tests of their own.
pub(crate) async fn start(database: &Database) -> AuthApi {
    AuthApi::start(database, &[("RATE_LIMIT", "off")]).await
}
