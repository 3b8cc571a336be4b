use std::sync::LazyLock;
use std::time::Duration;

use auth_api::config::{Network, PublicUrl};
use auth_api::credentials::{
    AccountAddress, AnsweredChallenge, ChallengeIssuer, ChallengeRefused, Secrets, Signature,
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

use super::edits::edited_text;
use super::{OTHER_SECRET, SECRET};

const TTL: TimeDelta = TimeDelta::minutes(5);
/// No challenge is valid for longer.
const LONGEST: TimeDelta = TimeDelta::hours(1);

static WALLET: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[9; 32]));
static ADDRESS: LazyLock<AccountAddress> = LazyLock::new(|| {
    let key = stellar_strkey::ed25519::PublicKey(WALLET.verifying_key().to_bytes());
    AccountAddress::parse(key.to_string().as_str()).unwrap()
});
/// The challenges of the corpus were made then.
static NOW: LazyLock<DateTime<Utc>> =
    LazyLock::new(|| DateTime::parse_from_rfc3339("2026-11-21T09:00:00Z").unwrap().to_utc());
static OURS: LazyLock<ChallengeIssuer> =
    LazyLock::new(|| issuer(SECRET, "https://auth.example.test", Network::Testnet));
/// Other deployments: with another secret, domain, scheme, network.
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
/// No key made it over anything.
static NOBODYS: LazyLock<Signature> = LazyLock::new(|| Signature::parse(&"11".repeat(64)).unwrap());

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

/// What is accepted is what we made, for us, for the wallet that signed it, within its time.
pub fn challenge_message(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        what_is_accepted_says_what_was_accepted(text);
    }
    if let Some(altered) = edited_text(&GENUINE, data) {
        // Before the signature is looked at: then it would be `BadSignature`.
        let refused = OURS.verify(&altered, &NOBODYS, *NOW).unwrap_err();
        assert!(
            matches!(refused, ChallengeRefused::NotOurs | ChallengeRefused::Altered),
            "{refused:?}: {altered:?}"
        );
    }
    if let Some((&seconds, _)) = data.split_first_chunk::<2>() {
        it_is_good_until_it_expires(TimeDelta::seconds(i16::from_be_bytes(seconds).into()));
    }
}

fn what_is_accepted_says_what_was_accepted(text: &str) {
    match OURS.verify(text, &NOBODYS, *NOW) {
        Ok(_) => panic!("nobody signed it: {text:?}"),
        Err(ChallengeRefused::BadSignature) => {}
        Err(_) => return,
    }
    // Ours, of this domain and chain, and in its time: another of the corpus, and maybe of another
    // wallet.
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
    stands_there(&answered, &lines);
    for other in &*OTHERS {
        assert!(
            other.verify(text, &signed(text), *NOW).is_err(),
            "accepted by another deployment: {text:?}"
        );
    }
}

fn stands_there(answered: &AnsweredChallenge, lines: &[&str]) {
    let nonce = lines[8].strip_prefix("Nonce: ").unwrap();
    assert_eq!(answered.nonce_hash.0, *blake3::hash(nonce.as_bytes()).as_bytes());
    let expiry = answered.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    assert_eq!(lines[10], format!("Expiration Time: {expiry}"));
}

fn it_is_good_until_it_expires(later: TimeDelta) {
    let answered = OURS.verify(&GENUINE, &SIGNATURE, *NOW + later);
    match answered {
        Ok(_) => assert!(later < TTL && TTL - later <= LONGEST, "accepted after {later}"),
        Err(ChallengeRefused::Expired) => assert!(later >= TTL, "expired after {later}"),
        Err(ChallengeRefused::TooLong) => assert!(TTL - later > LONGEST, "too long after {later}"),
        Err(refused) => panic!("{refused} after {later}"),
    }
}
