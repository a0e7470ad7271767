"""Tables and indices. `shared.tables` describes the same ones to the services; a test compares the two."""

TABLES = """
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    email         text UNIQUE CHECK (email = lower(email)),
    display_name  text NOT NULL,
    role          text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'superadmin')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    anonymised_at timestamptz
);
COMMENT ON TABLE users IS 'People. Never deleted: anonymised, so that what they used stays counted';

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users,
    prefix       text NOT NULL,
    digest       bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    name         text NOT NULL,
    scopes       text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users,
    digest     bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    csrf       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE engines (
    owner_id    uuid NOT NULL REFERENCES users,
    id          text NOT NULL,
    name        text NOT NULL,
    description text,
    version     integer NOT NULL DEFAULT 1 CHECK (version > 0),
    definition  json NOT NULL,
    shared      boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, id)
);
COMMENT ON COLUMN engines.definition IS 'As text, not jsonb: the order of keys is its author''s, as in a form';
CREATE INDEX engines_shared ON engines (id) WHERE shared;

CREATE TABLE models (
    name         text PRIMARY KEY,
    tier         text NOT NULL CHECK (tier IN ('included', 'payg')),
    capabilities jsonb NOT NULL DEFAULT '{}',
    input_limit  integer,
    output_limit integer,
    retired_at   timestamptz,
    successor    text REFERENCES models
);

CREATE TABLE model_prices (
    model             text NOT NULL,
    service_tier      text NOT NULL DEFAULT 'standard',
    token_kind        text NOT NULL CHECK (token_kind IN ('input', 'cached', 'output', 'thoughts', 'tool')),
    threshold         integer NOT NULL DEFAULT 0 CHECK (threshold >= 0),
    valid_from        timestamptz NOT NULL,
    currency          text NOT NULL DEFAULT 'USD' CHECK (currency = 'USD'),
    price_per_million numeric(12, 4) NOT NULL CHECK (price_per_million >= 0),
    version           bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    PRIMARY KEY (model, service_tier, token_kind, threshold, valid_from, currency)
);
COMMENT ON COLUMN model_prices.threshold IS 'Tokens of the prompt from which on the price holds: 0 or 200001';
COMMENT ON COLUMN model_prices.price_per_million IS
    'Four decimals, so that tokens times price is exact in the ten decimals of a cost';
COMMENT ON COLUMN model_prices.currency IS 'One for all: costs are summed';
COMMENT ON COLUMN model_prices.version IS
    'Drawn anew for every row. A price is never changed in place, so a cost can name the prices it came from';

CREATE TABLE executions (
    id              uuid PRIMARY KEY,
    user_id         uuid NOT NULL,
    engine_id       text NOT NULL,
    engine_name     text NOT NULL,
    engine_version  integer NOT NULL,
    status          text NOT NULL
        CHECK (status IN ('queued', 'running', 'stopping', 'completed', 'stopped', 'failed')),
    kind            text NOT NULL CHECK (kind IN ('included', 'payg', 'mixed', 'none')),
    lane            text,
    title           text,
    created_at      timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz,
    attempt         integer NOT NULL DEFAULT 0,
    worker          text,
    stop            jsonb,
    error           jsonb,
    input_tokens    bigint NOT NULL DEFAULT 0,
    cached_tokens   bigint NOT NULL DEFAULT 0,
    output_tokens   bigint NOT NULL DEFAULT 0,
    thoughts_tokens bigint NOT NULL DEFAULT 0,
    tool_tokens     bigint NOT NULL DEFAULT 0,
    certainty       text NOT NULL DEFAULT 'measured'
        CHECK (certainty IN ('measured', 'estimated', 'unknown')),
    kept            boolean NOT NULL DEFAULT false,
    last_seq        bigint NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);
COMMENT ON TABLE executions IS 'What lists show, projected from the log. The log decides; this table follows';
CREATE INDEX executions_of_user ON executions (user_id, created_at DESC, id DESC);
CREATE INDEX executions_newest ON executions (created_at DESC, id DESC);
CREATE INDEX executions_ended ON executions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX executions_open ON executions (updated_at) WHERE ended_at IS NULL;

CREATE TABLE projector_positions (
    name       text PRIMARY KEY,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE usage_ledger (
    execution_id    uuid NOT NULL,
    line            smallint NOT NULL CHECK (line >= 0),
    user_id         uuid NOT NULL,
    engine_id       text NOT NULL,
    engine_name     text NOT NULL,
    bucket          timestamptz NOT NULL,
    ended_at        timestamptz NOT NULL,
    event_id        text,
    outcome         text CHECK (outcome IN ('completed', 'stopped', 'failed')),
    kind            text CHECK (kind IN ('included', 'payg', 'mixed', 'none')),
    attempts        integer,
    requested_at    timestamptz,
    started_at      timestamptz,
    model           text,
    model_type      text CHECK (model_type IN ('included', 'payg')),
    certainty       text CHECK (certainty IN ('measured', 'estimated', 'unknown')),
    long_context    boolean,
    calls           bigint NOT NULL DEFAULT 0,
    input_tokens    bigint NOT NULL DEFAULT 0,
    cached_tokens   bigint NOT NULL DEFAULT 0,
    output_tokens   bigint NOT NULL DEFAULT 0,
    thoughts_tokens bigint NOT NULL DEFAULT 0,
    tool_tokens     bigint NOT NULL DEFAULT 0,
    total_tokens    bigint NOT NULL
        GENERATED ALWAYS AS (input_tokens + output_tokens + thoughts_tokens + tool_tokens) STORED,
    cost            numeric(20, 10),
    price_version   bigint,
    counted_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, line),
    CONSTRAINT usage_ledger_mark CHECK ((line = 0) = (outcome IS NOT NULL AND kind IS NOT NULL
        AND attempts IS NOT NULL AND requested_at IS NOT NULL AND event_id IS NOT NULL)),
    CONSTRAINT usage_ledger_fact CHECK ((line > 0) = (model IS NOT NULL AND model_type IS NOT NULL
        AND certainty IS NOT NULL AND long_context IS NOT NULL))
);
COMMENT ON TABLE usage_ledger IS
    'Line 0 marks that an execution has been counted; lines from 1 say what it used, by model. The key is '
    'the execution, because the log gives each execution exactly one end. So a repeat, a replay of a '
    'restored stream under other sequences, and an import of old executions are all counted once';
COMMENT ON COLUMN usage_ledger.cost IS 'NULL: no price is known for this model, which does not mean free';
CREATE INDEX usage_ledger_recent ON usage_ledger (user_id, ended_at DESC, execution_id DESC) WHERE line = 0;
CREATE INDEX usage_ledger_bucket ON usage_ledger (bucket);

CREATE TABLE user_analytics (
    user_id         uuid NOT NULL REFERENCES users,
    analytics_type  text NOT NULL CHECK (analytics_type IN ('execution', 'token_usage')),
    bucket          timestamptz NOT NULL,
    date_hour       timestamptz NOT NULL
        GENERATED ALWAYS AS (date_trunc('hour', bucket AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') STORED,
    engine_id       text NOT NULL,
    engine_name     text NOT NULL,
    model           text NOT NULL,
    model_type      text NOT NULL CHECK (model_type IN ('included', 'payg', 'none')),
    calls           bigint NOT NULL DEFAULT 0,
    estimated_calls bigint NOT NULL DEFAULT 0,
    unknown_calls   bigint NOT NULL DEFAULT 0,
    input_tokens    bigint NOT NULL DEFAULT 0,
    cached_tokens   bigint NOT NULL DEFAULT 0,
    output_tokens   bigint NOT NULL DEFAULT 0,
    thoughts_tokens bigint NOT NULL DEFAULT 0,
    tool_tokens     bigint NOT NULL DEFAULT 0,
    total_tokens    bigint NOT NULL
        GENERATED ALWAYS AS (input_tokens + output_tokens + thoughts_tokens + tool_tokens) STORED,
    total_cost      numeric(20, 10) NOT NULL DEFAULT 0,
    unpriced_tokens bigint NOT NULL DEFAULT 0,
    completed       bigint NOT NULL DEFAULT 0,
    stopped         bigint NOT NULL DEFAULT 0,
    failed          bigint NOT NULL DEFAULT 0,
    duration_ms     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, analytics_type, bucket, engine_id, engine_name, model, model_type)
) WITH (fillfactor = 70);
COMMENT ON COLUMN user_analytics.bucket IS 'Start of the 15 minutes, UTC, in which the executions ended';
COMMENT ON COLUMN user_analytics.model IS 'Empty in rows of type execution, whose model_type is none';
COMMENT ON COLUMN user_analytics.total_cost IS 'Of the tokens with a price; unpriced_tokens has the others';
COMMENT ON COLUMN user_analytics.duration_ms IS 'Sum over the executions, from the first start to the end';

CREATE TABLE usage_rejects (
    event_id     text PRIMARY KEY,
    execution_id text NOT NULL,
    stream_seq   bigint NOT NULL,
    ended_at     timestamptz NOT NULL,
    reason       text NOT NULL,
    detail       text NOT NULL,
    body         bytea NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE usage_rejects IS
    'Terminal events that could not be counted, with their bytes: the log may be pruned before they are read';

CREATE TABLE audit (
    id      uuid PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    target  text NOT NULL,
    reason  text,
    details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_newest ON audit (at DESC, id DESC);

INSERT INTO users (id, display_name) VALUES ('00000000-0000-0000-0000-000000000000', 'Lekhika');
"""

DROP = """
DROP TABLE audit, usage_rejects, user_analytics, usage_ledger, projector_positions, executions, model_prices,
    models, engines, sessions, api_keys, users;
"""
