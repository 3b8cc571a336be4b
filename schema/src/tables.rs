// @generated automatically by Diesel CLI.

diesel::table! {
    accounts (id) {
        id -> Uuid,
        issuer -> Text,
        subject -> Text,
        created_at -> Timestamptz,
        last_login_at -> Timestamptz,
        disabled_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    consumed_challenges (nonce_hash) {
        nonce_hash -> Bytea,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    reaper_runs (id) {
        id -> Uuid,
        instance -> Text,
        version -> Text,
        started_at -> Timestamptz,
        heartbeat_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        trigger -> Text,
        outcome -> Nullable<Text>,
        report -> Nullable<Jsonb>,
    }
}

diesel::table! {
    reaper_state (key) {
        key -> Text,
        value -> Jsonb,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        account_id -> Uuid,
        token_hash -> Nullable<Bytea>,
        user_agent -> Nullable<Text>,
        ip -> Nullable<Inet>,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        expires_at -> Timestamptz,
        absolute_expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revoked_reason -> Nullable<Text>,
        previous_hash -> Nullable<Bytea>,
        previous_until -> Nullable<Timestamptz>,
        sealed_successor -> Nullable<Bytea>,
    }
}

diesel::table! {
    token_families (session_id) {
        session_id -> Uuid,
        generation -> Int8,
        token_hash -> Bytea,
        previous_hash -> Nullable<Bytea>,
        sealed_successor -> Nullable<Bytea>,
        rotated_at -> Timestamptz,
        previous_rotated_at -> Nullable<Timestamptz>,
        attempt_hash -> Nullable<Bytea>,
        recorded_generation -> Nullable<Int8>,
        previous_expires_at -> Nullable<Timestamptz>,
        last_ipv4 -> Nullable<Inet>,
        last_ipv6 -> Nullable<Inet>,
        foreign_generation -> Nullable<Int8>,
        foreign_generations -> Nullable<Int4>,
        key -> Nullable<Bytea>,
    }
}

diesel::joinable!(sessions -> accounts (account_id));
diesel::joinable!(token_families -> sessions (session_id));

diesel::allow_tables_to_appear_in_same_query!(
    accounts,
    consumed_challenges,
    reaper_runs,
    reaper_state,
    sessions,
    token_families,
);
