SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA sagagen_engine;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE sagagen_engine.audit (
    seq bigint NOT NULL,
    id text NOT NULL,
    at_ms bigint NOT NULL,
    by text NOT NULL,
    did text NOT NULL,
    result text NOT NULL,
    saga_id text NOT NULL COLLATE pg_catalog."C",
    order_id text NOT NULL,
    reason text NOT NULL,
    scheme text NOT NULL,
    trace_id text NOT NULL,
    address text NOT NULL,
    count integer NOT NULL
);
ALTER TABLE sagagen_engine.audit ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sagagen_engine.audit_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE sagagen_engine.batch (
    saga bigint NOT NULL,
    seq bigint NOT NULL,
    answers boolean NOT NULL,
    rows bytea NOT NULL,
    part integer,
    sealed bytea,
    digests bytea
);
ALTER TABLE sagagen_engine.batch ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sagagen_engine.batch_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE sagagen_engine.life (
    life bigint NOT NULL,
    name text NOT NULL,
    until timestamp with time zone NOT NULL,
    writes bigint DEFAULT 0 NOT NULL,
    barred bigint DEFAULT 0 NOT NULL,
    last_ms bigint DEFAULT 0 NOT NULL,
    is_over boolean DEFAULT false NOT NULL,
    kek text,
    on_trial text DEFAULT ''::text NOT NULL
)
WITH (fillfactor='20');
ALTER TABLE sagagen_engine.life ALTER COLUMN life ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sagagen_engine.life_life_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE sagagen_engine.mail (
    id bigint NOT NULL,
    shard bigint NOT NULL,
    body bytea NOT NULL,
    until timestamp with time zone NOT NULL,
    taken_by bigint,
    reply bytea
);
ALTER TABLE sagagen_engine.mail ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sagagen_engine.mail_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE sagagen_engine.meta (
    name text NOT NULL,
    value text NOT NULL
);
CREATE TABLE sagagen_engine.own_key (
    number integer NOT NULL,
    kek text NOT NULL,
    wrapped bytea NOT NULL
);
CREATE TABLE sagagen_engine.pending_order (
    id text NOT NULL,
    saga_id text NOT NULL,
    did text NOT NULL,
    members text NOT NULL,
    by text NOT NULL,
    at_ms bigint NOT NULL,
    expires_ms bigint NOT NULL
);
CREATE TABLE sagagen_engine.saga (
    number bigint NOT NULL,
    saga_id text NOT NULL COLLATE pg_catalog."C",
    shard bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    version integer NOT NULL,
    digest text NOT NULL,
    run text NOT NULL,
    caller text NOT NULL COLLATE pg_catalog."C",
    fingerprint bytea NOT NULL,
    trace_id text NOT NULL,
    started_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    wake_ms bigint,
    at_steps text DEFAULT ''::text NOT NULL,
    found_by jsonb,
    kek text,
    wrapped bytea,
    subject bigint,
    is_sealed boolean,
    deaths integer,
    deaths_rows integer
)
WITH (fillfactor='80');
ALTER TABLE sagagen_engine.saga ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sagagen_engine.saga_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE sagagen_engine.shard (
    shard bigint NOT NULL,
    life bigint
);
ALTER TABLE sagagen_engine.shard ALTER COLUMN shard ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sagagen_engine.shard_shard_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE sagagen_engine.store_key (
    kek text NOT NULL,
    wrapped bytea NOT NULL
);
CREATE TABLE sagagen_engine.subject_key (
    number bigint NOT NULL,
    name bytea NOT NULL,
    kek text,
    wrapped bytea NOT NULL,
    forgotten_ms bigint
);
ALTER TABLE sagagen_engine.subject_key ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME sagagen_engine.subject_key_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO sagagen_engine.batch OVERRIDING SYSTEM VALUE VALUES (1, 1, false, '\x080112b8010a08414343455054454410d1a6acfba2341a10623761643662373136393230333333317a030a01788201030a0178ba010468616c66c20105706c616365c80101d201026431da011061376432663939633862393561363631e20109616e6f6e796d6f7573ea01056b65792d31f20120fbc601aefa01f8692f1ee4ca767d28f0ee54083d0bbee08bcee1f2bb3b75e3b7fa012030616637363531393136636434336464383434386562323131633830333139638002018a0200', NULL, NULL, NULL);
INSERT INTO sagagen_engine.batch OVERRIDING SYSTEM VALUE VALUES (1, 2, false, '\x0801123a0a04444f4e4510f2a7acfba2341a103230646439323331633432373630663522036f6e6530017a0c0a0a6f6e6520616374696f6e8201030a0178', NULL, NULL, NULL);
INSERT INTO sagagen_engine.life OVERRIDING SYSTEM VALUE VALUES (1, 'gateway/1', '2026-12-01 02:25:36.339671+00', 2, 0, 1796091876338, true, NULL, '');
INSERT INTO sagagen_engine.meta VALUES ('version', '3');
INSERT INTO sagagen_engine.meta VALUES ('project', 'test');
INSERT INTO sagagen_engine.saga OVERRIDING SYSTEM VALUE VALUES (1, 'half', 1, 'place', 1, 'd1', 'a7d2f99c8b95a661', 'anonymous', '\xfbc601aefa01f8692f1ee4ca767d28f0ee54083d0bbee08bcee1f2bb3b75e3b7', '0af7651916cd43dd8448eb211c80319c', 1796091876177, 1796091876177, 'RUNNING', NULL, '', NULL, NULL, NULL, NULL, false, NULL, NULL);
INSERT INTO sagagen_engine.shard OVERRIDING SYSTEM VALUE VALUES (1, NULL);
SELECT pg_catalog.setval('sagagen_engine.audit_seq_seq', 1, false);
SELECT pg_catalog.setval('sagagen_engine.batch_seq_seq', 2, true);
SELECT pg_catalog.setval('sagagen_engine.life_life_seq', 1, true);
SELECT pg_catalog.setval('sagagen_engine.mail_id_seq', 1, false);
SELECT pg_catalog.setval('sagagen_engine.saga_number_seq', 1, true);
SELECT pg_catalog.setval('sagagen_engine.shard_shard_seq', 1, true);
SELECT pg_catalog.setval('sagagen_engine.subject_key_number_seq', 1, false);
ALTER TABLE ONLY sagagen_engine.audit
    ADD CONSTRAINT audit_id_key UNIQUE (id);
ALTER TABLE ONLY sagagen_engine.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY sagagen_engine.batch
    ADD CONSTRAINT batch_pkey PRIMARY KEY (saga, seq);
ALTER TABLE ONLY sagagen_engine.life
    ADD CONSTRAINT life_pkey PRIMARY KEY (life);
ALTER TABLE ONLY sagagen_engine.mail
    ADD CONSTRAINT mail_pkey PRIMARY KEY (id);
ALTER TABLE ONLY sagagen_engine.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (name);
ALTER TABLE ONLY sagagen_engine.own_key
    ADD CONSTRAINT own_key_pkey PRIMARY KEY (number);
ALTER TABLE ONLY sagagen_engine.pending_order
    ADD CONSTRAINT pending_order_pkey PRIMARY KEY (id);
ALTER TABLE ONLY sagagen_engine.saga
    ADD CONSTRAINT saga_pkey PRIMARY KEY (number);
ALTER TABLE ONLY sagagen_engine.saga
    ADD CONSTRAINT saga_saga_id_key UNIQUE (saga_id);
ALTER TABLE ONLY sagagen_engine.shard
    ADD CONSTRAINT shard_pkey PRIMARY KEY (shard);
ALTER TABLE ONLY sagagen_engine.store_key
    ADD CONSTRAINT store_key_pkey PRIMARY KEY (kek);
ALTER TABLE ONLY sagagen_engine.subject_key
    ADD CONSTRAINT subject_key_pkey PRIMARY KEY (number);
CREATE INDEX audit_at ON sagagen_engine.audit USING btree (at_ms);
CREATE INDEX audit_of_saga ON sagagen_engine.audit USING btree (saga_id, at_ms) WHERE (saga_id <> ''::text);
CREATE INDEX mail_to_do ON sagagen_engine.mail USING btree (shard) WHERE (reply IS NULL);
CREATE INDEX saga_ended ON sagagen_engine.saga USING btree (name, updated_ms) WHERE (status = ANY (ARRAY['COMPLETED'::text, 'COMPENSATED'::text, 'SUPERSEDED'::text]));
CREATE INDEX saga_found_by ON sagagen_engine.saga USING gin (found_by jsonb_path_ops) WHERE (found_by IS NOT NULL);
CREATE INDEX saga_of_caller ON sagagen_engine.saga USING btree (caller, number) WHERE (caller <> 'anonymous'::text);
CREATE INDEX saga_open ON sagagen_engine.saga USING btree (number) WHERE (status = ANY (ARRAY['RUNNING'::text, 'COMPENSATING'::text, 'STUCK'::text]));
CREATE INDEX saga_subject ON sagagen_engine.saga USING btree (subject) WHERE (subject IS NOT NULL);
CREATE INDEX saga_to_do ON sagagen_engine.saga USING btree (shard, number) WHERE (((status = ANY (ARRAY['RUNNING'::text, 'COMPENSATING'::text])) AND (wake_ms IS NULL)) OR (wake_ms = 0));
CREATE INDEX saga_waiting ON sagagen_engine.saga USING btree (shard, wake_ms, number) WHERE (wake_ms > 0);
CREATE INDEX subject_key_all ON sagagen_engine.subject_key USING btree (name);
CREATE UNIQUE INDEX subject_key_name ON sagagen_engine.subject_key USING btree (name) WHERE (kek IS NOT NULL);
ALTER TABLE ONLY sagagen_engine.life
    ADD CONSTRAINT life_kek_fkey FOREIGN KEY (kek) REFERENCES sagagen_engine.store_key(kek);
ALTER TABLE ONLY sagagen_engine.own_key
    ADD CONSTRAINT own_key_kek_fkey FOREIGN KEY (kek) REFERENCES sagagen_engine.store_key(kek);
ALTER TABLE ONLY sagagen_engine.saga
    ADD CONSTRAINT saga_subject_fkey FOREIGN KEY (subject) REFERENCES sagagen_engine.subject_key(number);
ALTER TABLE ONLY sagagen_engine.subject_key
    ADD CONSTRAINT subject_key_kek_fkey FOREIGN KEY (kek) REFERENCES sagagen_engine.store_key(kek);
