use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use schema::ids::TokenHash;
use uuid::Uuid;

use super::secrets::{Purpose, Secrets, TAG_LENGTH};
use super::{AccountAddress, Signature};
use crate::domain::{Network, PublicUrl};

/// A message for a wallet to sign, modeled on EIP-4361 but for Stellar (message format:
/// docs/api.md).
///
/// A challenge is not stored, so an unauthenticated request writes nothing. Instead, its nonce
/// contains 16 random bytes and a keyed BLAKE3 hash of everything else in the message. A message
/// that differs from an issued one in any byte is therefore rejected.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The text to sign, byte for byte.
    pub message: String,
    /// The time from which the challenge is rejected.
    pub expires_at: DateTime<Utc>,
}

/// A challenge that was signed by the wallet for which it was issued, and that had not expired at
/// the time passed to [`ChallengeIssuer::verify`].
#[derive(Clone, Debug)]
pub struct AnsweredChallenge {
    /// The wallet.
    pub address: AccountAddress,
    /// BLAKE3 hash of the nonce. A nonce may be used only once.
    pub nonce_hash: TokenHash,
    /// When the challenge expires. The caller must check this time again, against the clock of the
    /// database.
    pub expires_at: DateTime<Utc>,
}

/// Why a login with a challenge is rejected. The reason is not disclosed to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeRefused {
    /// The message is too long, is not ASCII, or does not have the format of a challenge.
    #[error("not a challenge of ours")]
    NotOurs,
    /// The message was altered, or was issued with another secret.
    #[error("the message is not one of ours")]
    Altered,
    /// The challenge was issued by this service, but for another domain, URI, or chain.
    #[error("made for another domain or chain")]
    OtherAudience,
    /// The challenge has expired.
    #[error("expired")]
    Expired,
    /// The challenge remains valid for longer than any challenge that is issued now.
    #[error("expires too late")]
    TooLong,
    /// The wallet did not make the signature.
    #[error("not signed by the wallet")]
    BadSignature,
}

/// Issues and verifies challenges.
#[derive(Clone, Debug)]
pub struct ChallengeIssuer {
    secrets: Secrets,
    public_url: PublicUrl,
    network: Network,
    ttl: chrono::Duration,
}

/// The maximum of `CHALLENGE_TTL`. Without a maximum, anyone with `AUTH_SECRET` could make a
/// challenge that expires in a hundred years, and a wallet's signature of that challenge would
/// allow a login until then.
const LONGEST: chrono::Duration = chrono::Duration::hours(1);
/// The maximum length of a message, in bytes. Hardware wallets have small screens and little
/// memory.
const MAX_LENGTH: usize = 1024;
const STATEMENT: &str =
    "Sign in. This proves that you hold the key; it costs nothing and moves nothing.";
const NONCE: &str = "\nNonce: ";
const RANDOM_HEX: usize = 32;
const NONCE_HEX: usize = RANDOM_HEX + 2 * TAG_LENGTH;

impl ChallengeIssuer {
    /// Creates an issuer of challenges that live for `ttl`.
    #[must_use]
    pub fn new(
        secrets: Secrets,
        public_url: PublicUrl,
        network: Network,
        ttl: std::time::Duration,
    ) -> Self {
        // The configuration limits `ttl` to an hour.
        let ttl = chrono::Duration::from_std(ttl).unwrap_or(chrono::Duration::hours(1));
        Self { secrets, public_url, network, ttl }
    }

    /// Issues a challenge for `address`. Times are truncated to whole seconds, as in the message.
    pub fn issue(
        &self,
        address: &AccountAddress,
        now: DateTime<Utc>,
    ) -> Result<Challenge, getrandom::Error> {
        let mut random = [0; RANDOM_HEX / 2];
        getrandom::fill(&mut random)?;
        let random = hex::encode(random);
        let now = now.trunc_subsecs(0);
        let expires_at = now + self.ttl;
        let head = self.head(address);
        let tail = format!(
            "\nIssued At: {}\nExpiration Time: {}\nRequest ID: {}",
            rfc3339(now),
            rfc3339(expires_at),
            Uuid::new_v4()
        );
        let tag = self
            .secrets
            .tag(Purpose::Challenge, &[head.as_bytes(), random.as_bytes(), tail.as_bytes()]);
        Ok(Challenge { message: format!("{head}{random}{}{tail}", hex::encode(tag)), expires_at })
    }

    /// Returns the part of the message before the value of the nonce.
    fn head(&self, address: &AccountAddress) -> String {
        format!(
            "{} wants you to sign in with your Stellar account:\n{address}\n\n{STATEMENT}\n\nURI: {}\nVersion: 1\nChain ID: {}{NONCE}",
            self.public_url.domain,
            self.public_url.uri,
            self.network.caip2(),
        )
    }

    /// Splits the message at its nonce, and verifies its length, its encoding, and its MAC (the
    /// keyed hash in the nonce).
    fn authentic<'m>(&self, message: &'m str) -> Result<Parts<'m>, ChallengeRefused> {
        if message.len() > MAX_LENGTH || !message.is_ascii() {
            return Err(ChallengeRefused::NotOurs);
        }
        let parts = Parts::of(message).ok_or(ChallengeRefused::NotOurs)?;
        let authenticated = [parts.head, parts.random, parts.tail].map(str::as_bytes);
        if !self.secrets.verify(Purpose::Challenge, &authenticated, &parts.tag) {
            return Err(ChallengeRefused::Altered);
        }
        Ok(parts)
    }

    /// Verifies an answered challenge: the length, the encoding, the MAC, the address, the domain
    /// and the chain, the expiry, and then the signature, in this order.
    pub fn verify(
        &self,
        message: &str,
        signature: &Signature,
        now: DateTime<Utc>,
    ) -> Result<AnsweredChallenge, ChallengeRefused> {
        let parts = self.authentic(message)?;
        // From here on, the message is known to come from this service, possibly with another
        // configuration.
        let address = parts.address().ok_or(ChallengeRefused::NotOurs)?;
        if parts.head != self.head(&address) {
            return Err(ChallengeRefused::OtherAudience);
        }
        let expires_at = parts.expires_at().ok_or(ChallengeRefused::NotOurs)?;
        if now >= expires_at {
            return Err(ChallengeRefused::Expired);
        }
        if expires_at - now > LONGEST {
            return Err(ChallengeRefused::TooLong);
        }
        if !signature.verifies(message.as_bytes(), &address) {
            return Err(ChallengeRefused::BadSignature);
        }
        let nonce_hash = TokenHash(*blake3::hash(parts.nonce.as_bytes()).as_bytes());
        Ok(AnsweredChallenge { address, nonce_hash, expires_at })
    }
}

/// A message, split at its nonce.
struct Parts<'m> {
    head: &'m str,
    nonce: &'m str,
    random: &'m str,
    tag: [u8; TAG_LENGTH],
    tail: &'m str,
}

impl<'m> Parts<'m> {
    fn of(message: &'m str) -> Option<Self> {
        let nonce_at = message.find(NONCE)? + NONCE.len();
        let (head, rest) = message.split_at(nonce_at);
        let (nonce, tail) = rest.split_at_checked(NONCE_HEX)?;
        if !nonce.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let (random, tag_hex) = nonce.split_at(RANDOM_HEX);
        let mut tag = [0; TAG_LENGTH];
        hex::decode_to_slice(tag_hex, &mut tag).ok()?;
        Some(Self { head, nonce, random, tag, tail })
    }

    fn address_line(&self) -> Option<&'m str> {
        self.head.lines().nth(1)
    }

    fn address(&self) -> Option<AccountAddress> {
        AccountAddress::parse(self.address_line()?).ok()
    }

    fn expires_at(&self) -> Option<DateTime<Utc>> {
        let text = self.tail.lines().find_map(|line| line.strip_prefix("Expiration Time: "))?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{AuthApi, Wallet};

    fn issuer(secret: &str, uri: &str, network: Network) -> ChallengeIssuer {
        let domain = uri.trim_start_matches("https://").to_owned();
        let public_url = PublicUrl { uri: uri.to_owned(), domain, origin: uri.to_owned() };
        ChallengeIssuer::new(
            Secrets::parse(secret).unwrap(),
            public_url,
            network,
            std::time::Duration::from_mins(5),
        )
    }

    fn ours() -> ChallengeIssuer {
        issuer(AuthApi::SECRET, "https://auth.example.test", Network::Testnet)
    }

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-11-21T09:00:00.75Z").unwrap().to_utc()
    }

    fn answer(
        by: &ChallengeIssuer,
        message: &str,
        wallet: &Wallet,
        at: DateTime<Utc>,
    ) -> Result<(), ChallengeRefused> {
        by.verify(message, &Signature::parse(&wallet.sign(message)).unwrap(), at).map(drop)
    }

    #[test]
    fn challenge_has_the_documented_format() {
        let wallet = Wallet::generate();
        let challenge =
            ours().issue(&AccountAddress::parse(wallet.address()).unwrap(), now()).unwrap();
        let lines: Vec<&str> = challenge.message.split('\n').collect();
        let [
            first,
            address,
            "",
            statement,
            "",
            uri,
            version,
            chain,
            nonce,
            issued,
            expires,
            request,
        ] = lines[..]
        else {
            panic!("{}", challenge.message);
        };
        assert_eq!(first, "auth.example.test wants you to sign in with your Stellar account:");
        assert_eq!(address, wallet.address());
        assert!(!statement.is_empty());
        assert_eq!(
            [uri, version, chain],
            ["URI: https://auth.example.test", "Version: 1", "Chain ID: stellar:testnet"]
        );
        assert_eq!(nonce.len(), "Nonce: ".len() + 64);
        assert_eq!(issued, "Issued At: 2026-11-21T09:00:00Z");
        assert_eq!(expires, "Expiration Time: 2026-11-21T09:05:00Z");
        assert!(Uuid::parse_str(request.strip_prefix("Request ID: ").unwrap()).is_ok());
        assert_eq!(rfc3339(challenge.expires_at), "2026-11-21T09:05:00Z");
        assert!(challenge.message.is_ascii() && challenge.message.len() < 1024);
    }

    #[test]
    fn challenge_is_valid_until_its_expiry() {
        let wallet = Wallet::generate();
        let challenge =
            ours().issue(&AccountAddress::parse(wallet.address()).unwrap(), now()).unwrap();
        let last = challenge.expires_at - chrono::Duration::microseconds(1);
        assert_eq!(answer(&ours(), &challenge.message, &wallet, last), Ok(()));
        let at_expiry = answer(&ours(), &challenge.message, &wallet, challenge.expires_at);
        assert_eq!(at_expiry, Err(ChallengeRefused::Expired));
    }

    #[test]
    fn challenge_valid_for_over_an_hour_is_rejected() {
        let wallet = Wallet::generate();
        let mut issuer = ours();
        issuer.ttl = chrono::Duration::hours(1);
        let challenge =
            issuer.issue(&AccountAddress::parse(wallet.address()).unwrap(), now()).unwrap();
        let an_hour_before = challenge.expires_at - chrono::Duration::hours(1);
        assert_eq!(answer(&ours(), &challenge.message, &wallet, an_hour_before), Ok(()));
        let earlier = an_hour_before - chrono::Duration::microseconds(1);
        assert_eq!(
            answer(&ours(), &challenge.message, &wallet, earlier),
            Err(ChallengeRefused::TooLong)
        );
    }

    #[test]
    fn challenge_altered_in_any_byte_is_rejected_even_if_signed() {
        let wallet = Wallet::generate();
        let message =
            ours().issue(&AccountAddress::parse(wallet.address()).unwrap(), now()).unwrap().message;
        for at in 0..message.len() {
            let mut bytes = message.clone().into_bytes();
            bytes[at] ^= 1;
            let altered = String::from_utf8(bytes).unwrap();
            assert!(answer(&ours(), &altered, &wallet, now()).is_err(), "byte {at}");
        }
        for other in [
            format!("{message}\n"),
            message.replace('\n', "\r\n"),
            format!(" {message}"),
            message[..message.len() - 1].to_owned(),
            format!("{message}\nNonce: {}", "0".repeat(64)),
            String::new(),
            "x".repeat(5000),
        ] {
            assert!(answer(&ours(), &other, &wallet, now()).is_err(), "{other:?}");
        }
    }

    #[test]
    fn challenge_for_another_wallet_or_deployment_is_rejected() {
        let (wallet, other_wallet) = (Wallet::generate(), Wallet::generate());
        let address = AccountAddress::parse(wallet.address()).unwrap();
        let message = ours().issue(&address, now()).unwrap().message;
        assert_eq!(
            answer(&ours(), &message, &other_wallet, now()),
            Err(ChallengeRefused::BadSignature)
        );
        for (issuer, why) in [
            (
                issuer(AuthApi::SECRET, "https://evil.example.test", Network::Testnet),
                ChallengeRefused::OtherAudience,
            ),
            (
                issuer(AuthApi::SECRET, "https://auth.example.test", Network::Pubnet),
                ChallengeRefused::OtherAudience,
            ),
            (
                issuer(AuthApi::OTHER_SECRET, "https://auth.example.test", Network::Testnet),
                ChallengeRefused::Altered,
            ),
        ] {
            let foreign = issuer.issue(&address, now()).unwrap().message;
            assert_eq!(answer(&ours(), &foreign, &wallet, now()), Err(why));
        }
    }

    #[test]
    fn an_older_secret_still_verifies() {
        let wallet = Wallet::generate();
        let message =
            ours().issue(&AccountAddress::parse(wallet.address()).unwrap(), now()).unwrap().message;
        let rotated = format!("{},{}", AuthApi::OTHER_SECRET, AuthApi::SECRET);
        let rotated = issuer(&rotated, "https://auth.example.test", Network::Testnet);
        assert_eq!(answer(&rotated, &message, &wallet, now()), Ok(()));
    }
}
