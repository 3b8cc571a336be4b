use std::sync::LazyLock;
use std::time::Duration;

use auth_api::credentials::{
    AccountAddress, AnsweredChallenge, ChallengeIssuer, ChallengeRefused, Secrets, Signature,
};
use auth_api::domain::{Network, PublicUrl};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use super::edits::edited_text;
use super::{OTHER_SECRET, SECRET};

const TTL: TimeDelta = TimeDelta::minutes(5);
/// The maximum lifetime of a challenge.
const LONGEST: TimeDelta = TimeDelta::hours(1);

static WALLET: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[9; 32]));
static ADDRESS: LazyLock<AccountAddress> = LazyLock::new(|| {
    let key = stellar_strkey::ed25519::PublicKey(WALLET.verifying_key().to_bytes());
    AccountAddress::parse(key.to_string().as_str()).unwrap()
});
/// The time at which the challenges of the corpus were issued.
static NOW: LazyLock<DateTime<Utc>> =
    LazyLock::new(|| DateTime::parse_from_rfc3339("2026-11-21T09:00:00Z").unwrap().to_utc());
static OURS: LazyLock<ChallengeIssuer> =
    LazyLock::new(|| issuer(SECRET, "https://auth.example.test", Network::Testnet));
/// Other deployments. Each one differs in the secret, the domain, the scheme, or the network.
static OTHERS: LazyLock<[ChallengeIssuer; 4]> = LazyLock::new(|| {
    [
        issuer(OTHER_SECRET, "https://auth.example.test", Network::Testnet),
        issuer(SECRET, "https://evil.example.test", Network::Testnet),
        issuer(SECRET, "http://auth.example.test", Network::Testnet),
        issuer(SECRET, "https://auth.example.test", Network::Pubnet),
    ]
});
static GENUINE: LazyLock<String> = LazyLock::new(|| OURS.issue(&ADDRESS, *NOW).unwrap().message);
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| signed(&GENUINE));
/// A signature that is not valid for any message.
static INVALID_SIGNATURE: LazyLock<Signature> =
    LazyLock::new(|| Signature::parse(&"11".repeat(64)).unwrap());

fn issuer(secret: &str, uri: &str, network: Network) -> ChallengeIssuer {
    let (_, domain) = uri.split_once("://").unwrap();
    let public_url =
        PublicUrl { uri: uri.to_owned(), domain: domain.to_owned(), origin: uri.to_owned() };
    ChallengeIssuer::new(
        Secrets::parse(secret).unwrap(),
        public_url,
        network,
        Duration::from_mins(5),
    )
}

fn signed(message: &str) -> Signature {
    let digest =
        Sha256::new_with_prefix(b"Stellar Signed Message:\n").chain_update(message).finalize();
    Signature::parse(&hex::encode(WALLET.sign(&digest).to_bytes())).unwrap()
}

/// Asserts that every accepted message was issued by this deployment, is signed by the wallet that
/// it names, and has not expired.
pub fn challenge_message(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        accepted_message_contains_its_fields(text);
    }
    if let Some(altered) = edited_text(&GENUINE, data) {
        // The altered message must be rejected before its signature is checked. The check of the
        // signature would return `BadSignature`.
        let refused = OURS.verify(&altered, &INVALID_SIGNATURE, *NOW).unwrap_err();
        assert!(
            matches!(refused, ChallengeRefused::NotOurs | ChallengeRefused::Altered),
            "{refused:?}: {altered:?}"
        );
    }
    if let Some((&seconds, _)) = data.split_first_chunk::<2>() {
        is_valid_until_it_expires(TimeDelta::seconds(i16::from_be_bytes(seconds).into()));
    }
}

fn accepted_message_contains_its_fields(text: &str) {
    match OURS.verify(text, &INVALID_SIGNATURE, *NOW) {
        Ok(_) => panic!("accepted without a valid signature: {text:?}"),
        Err(ChallengeRefused::BadSignature) => {}
        Err(_) => return,
    }
    // The message is authentic, belongs to this domain and chain, and has not expired. It is
    // therefore a genuine message from the corpus, and it may be for another wallet.
    assert!(text.is_ascii() && text.len() <= 1024 && !text.contains(['\r', '\0']), "{text:?}");
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines.len(), 12, "{text:?}");
    if lines[1] != ADDRESS.as_str() {
        return;
    }
    let answered = OURS.verify(text, &signed(text), *NOW).unwrap();
    assert_eq!(answered.address, *ADDRESS);
    assert_eq!(lines[0], "auth.example.test wants you to sign in with your Stellar account:");
    assert_eq!(lines[5], "URI: https://auth.example.test");
    assert_eq!(lines[7], "Chain ID: stellar:testnet");
    contains_fields(&answered, &lines);
    for other in &*OTHERS {
        assert!(
            other.verify(text, &signed(text), *NOW).is_err(),
            "accepted by another deployment: {text:?}"
        );
    }
}

fn contains_fields(answered: &AnsweredChallenge, lines: &[&str]) {
    let nonce = lines[8].strip_prefix("Nonce: ").unwrap();
    assert_eq!(answered.nonce_hash.0, *blake3::hash(nonce.as_bytes()).as_bytes());
    let expiry = answered.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    assert_eq!(lines[10], format!("Expiration Time: {expiry}"));
}

fn is_valid_until_it_expires(later: TimeDelta) {
    let answered = OURS.verify(&GENUINE, &SIGNATURE, *NOW + later);
    match answered {
        Ok(_) => assert!(later < TTL && TTL - later <= LONGEST, "accepted after {later}"),
        Err(ChallengeRefused::Expired) => assert!(later >= TTL, "expired after {later}"),
        Err(ChallengeRefused::TooLong) => assert!(TTL - later > LONGEST, "too long after {later}"),
        Err(refused) => panic!("{refused} after {later}"),
    }
}
