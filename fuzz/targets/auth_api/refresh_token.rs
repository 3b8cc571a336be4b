use std::sync::LazyLock;

use auth_api::credentials::{RefreshToken, Secrets};
use schema::ids::SessionId;
use schema::issued::{FamilyKey, IssuedTokens};
use uuid::Uuid;

use super::edits::{edited, edited_text};
use super::{OTHER_SECRET, SECRET};

static OURS: LazyLock<Secrets> = LazyLock::new(|| Secrets::parse(SECRET).unwrap());
static OTHERS: LazyLock<Secrets> = LazyLock::new(|| Secrets::parse(OTHER_SECRET).unwrap());
static BOTH: LazyLock<Secrets> =
    LazyLock::new(|| Secrets::parse(&format!("{OTHER_SECRET},{SECRET}")).unwrap());
static GENUINE: LazyLock<RefreshToken> = LazyLock::new(|| made(Uuid::from_u128(7), 41));

fn made(session_id: Uuid, generation: u32) -> RefreshToken {
    RefreshToken::generate(&OURS, None, SessionId(session_id), generation).unwrap()
}

/// Asserts that a parsed token has the values that it was created with, that it has only one
/// encoding, and that no other token is accepted.
pub fn refresh_token(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        genuine_token_has_one_encoding(text);
    }
    if let Some(altered) = edited_text(&GENUINE.expose(), data) {
        assert!(RefreshToken::parse(&altered, &OURS).is_err(), "forged token accepted: {altered}");
    }
    created_token_is_parsed(data);
}

fn genuine_token_has_one_encoding(text: &str) {
    let (parsed, others) = (RefreshToken::parse(text, &OURS), RefreshToken::parse(text, &OTHERS));
    assert_eq!(
        RefreshToken::parse(text, &BOTH),
        parsed.clone().or(others.clone()),
        "an older secret must still verify tokens"
    );
    if let Ok(token) = parsed {
        assert_eq!(*token.expose(), text);
        assert!(others.is_err(), "genuine under two secrets");
    }
}

fn created_token_is_parsed(data: &[u8]) {
    let Some((&id, rest)) = data.split_first_chunk::<16>() else { return };
    let Some((&generation, script)) = rest.split_first_chunk::<4>() else { return };
    let (id, generation) = (Uuid::from_bytes(id), u32::from_be_bytes(generation));
    let token = made(id, generation);
    let read = RefreshToken::parse(&token.expose(), &OURS).unwrap();
    assert_eq!(
        (read.session_id().0, read.generation(), read.hash()),
        (id, generation, token.hash())
    );

    // A token is accepted as issued only if it was created with the key of its family.
    let family = IssuedTokens {
        generation: i64::from(generation) + 1,
        token_hash: made(id, generation.wrapping_add(1)).hash(),
        previous_hash: None,
        key: Some(FamilyKey::new([7; 32].into())),
    };
    let with_key =
        RefreshToken::generate(&OURS, family.key.as_ref(), SessionId(id), generation).unwrap();
    assert!(with_key.is_among(&family));
    assert!(!token.is_among(&family), "accepted without the family key");

    // A sealed successor can be opened only with the token that sealed it, and only if the sealed
    // value is unchanged.
    assert_eq!(token.unseal(data, &OURS), None);
    if let Some(next) = generation.checked_add(1) {
        let successor = made(id, next);
        let sealed = token.seal(&successor, &OURS).unwrap();
        assert_eq!(made(id, generation).unseal(&sealed, &OURS), None, "opened by another token");
        assert_eq!(token.unseal(&sealed, &OTHERS), None, "opened by another AUTH_SECRET");
        assert_eq!(
            token.unseal(&sealed, &BOTH),
            Some(successor.clone()),
            "an older secret must still open successors"
        );
        let altered = edited(&sealed, script);
        let wanted = (altered == sealed).then_some(successor);
        assert_eq!(token.unseal(&altered, &OURS), wanted);
    }
}
