--
-- PostgreSQL database dump
--

\restrict T0LRiOY0TznydMn8Nl9UvhdxUwwYb70Z7npYyBucPFRjMOawMxrs7vnOTr8Wvck

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

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

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alert_deliveries; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alert_deliveries (
    id integer NOT NULL,
    key character varying(300) NOT NULL,
    channel character varying(50) NOT NULL,
    line character varying(200) NOT NULL,
    content text NOT NULL,
    state character varying(20) NOT NULL,
    tries integer NOT NULL,
    made_at bigint NOT NULL,
    due_at bigint NOT NULL,
    done_at bigint NOT NULL,
    said text NOT NULL
);


--
-- Name: alert_deliveries_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.alert_deliveries_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: alert_deliveries_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.alert_deliveries_id_seq OWNED BY public.alert_deliveries.id;


--
-- Name: alert_history; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alert_history (
    id integer NOT NULL,
    at bigint NOT NULL,
    key character varying(16) NOT NULL,
    name character varying(100) NOT NULL,
    severity character varying(20) NOT NULL,
    state character varying(20) NOT NULL,
    by character varying(200) NOT NULL,
    reason text NOT NULL
);


--
-- Name: alert_history_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.alert_history_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: alert_history_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.alert_history_id_seq OWNED BY public.alert_history.id;


--
-- Name: alerts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alerts (
    key character varying(16) NOT NULL,
    name character varying(100) NOT NULL,
    severity character varying(20) NOT NULL,
    source character varying(50) NOT NULL,
    labels text NOT NULL,
    notes text NOT NULL,
    state character varying(20) NOT NULL,
    since bigint NOT NULL,
    fired_at bigint NOT NULL,
    resolved_at bigint NOT NULL,
    sent_at bigint NOT NULL,
    told boolean NOT NULL,
    episode integer NOT NULL,
    acknowledged_by character varying(200) NOT NULL,
    silenced_until bigint NOT NULL,
    silenced_by character varying(200) NOT NULL,
    reason text NOT NULL
);


--
-- Name: aliases; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.aliases (
    type character varying(100) NOT NULL,
    id character varying(100) NOT NULL,
    "real" character varying(100) NOT NULL
);


--
-- Name: calls; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.calls (
    endpoint character varying(200) NOT NULL,
    input character varying(64) NOT NULL,
    status integer NOT NULL,
    content_type character varying(200) NOT NULL,
    body bytea NOT NULL,
    observed bigint NOT NULL
);


--
-- Name: collections; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.collections (
    type character varying(100) NOT NULL,
    complete boolean NOT NULL,
    stamp bigint NOT NULL,
    observed bigint NOT NULL,
    private boolean NOT NULL
);


--
-- Name: credentials; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.credentials (
    id integer NOT NULL,
    "user" character varying(200) NOT NULL,
    hash character varying(300) NOT NULL,
    accepted_at bigint NOT NULL
);


--
-- Name: credentials_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.credentials_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: credentials_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.credentials_id_seq OWNED BY public.credentials.id;


--
-- Name: dashboard_attempts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.dashboard_attempts (
    key character varying(300) NOT NULL,
    failures integer NOT NULL,
    until bigint NOT NULL
);


--
-- Name: dashboard_exports; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.dashboard_exports (
    id character varying(32) NOT NULL,
    "user" character varying(200) NOT NULL,
    at bigint NOT NULL,
    form character varying(10) NOT NULL,
    view text NOT NULL,
    total integer,
    done integer NOT NULL,
    state character varying(20) NOT NULL,
    detail text NOT NULL,
    beat bigint NOT NULL
);


--
-- Name: dashboard_sessions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.dashboard_sessions (
    id character varying(64) NOT NULL,
    "user" character varying(200) NOT NULL,
    csrf character varying(64) NOT NULL,
    created_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    address character varying(64) NOT NULL,
    agent character varying(300) NOT NULL
);


--
-- Name: dashboard_trail; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.dashboard_trail (
    id integer NOT NULL,
    at bigint NOT NULL,
    "user" character varying(200) NOT NULL,
    role character varying(20) NOT NULL,
    address character varying(64) NOT NULL,
    action character varying(40) NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    outcome character varying(300) NOT NULL
);


--
-- Name: dashboard_trail_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.dashboard_trail_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: dashboard_trail_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.dashboard_trail_id_seq OWNED BY public.dashboard_trail.id;


--
-- Name: dashboard_users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.dashboard_users (
    name character varying(200) NOT NULL,
    role character varying(20) NOT NULL,
    password character varying(300),
    subject character varying(500),
    created_at bigint NOT NULL
);


--
-- Name: endpoint_states; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.endpoint_states (
    endpoint character varying(200) NOT NULL,
    mode character varying(20) NOT NULL,
    percent double precision NOT NULL,
    circuit character varying(20) NOT NULL,
    opened bigint NOT NULL,
    backoff double precision NOT NULL,
    epoch integer NOT NULL,
    circuit_reason character varying(40) NOT NULL,
    reason text NOT NULL,
    changed_at bigint NOT NULL,
    changed_by character varying(200) NOT NULL
);


--
-- Name: identities; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.identities (
    caller character varying(200) NOT NULL,
    id character varying(100) NOT NULL
);


--
-- Name: leases; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.leases (
    name character varying(100) NOT NULL,
    holder character varying(200) NOT NULL,
    token bigint NOT NULL,
    until bigint NOT NULL
);


--
-- Name: made; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.made (
    type character varying(100) NOT NULL,
    id character varying(100) NOT NULL,
    stamp bigint NOT NULL
);


--
-- Name: marks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.marks (
    id integer NOT NULL,
    at bigint NOT NULL,
    text text NOT NULL,
    by character varying(200) NOT NULL
);


--
-- Name: marks_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.marks_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: marks_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.marks_id_seq OWNED BY public.marks.id;


--
-- Name: outbox; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.outbox (
    seq integer NOT NULL,
    id character varying(40) NOT NULL,
    endpoint character varying(200) NOT NULL,
    type character varying(100) NOT NULL,
    action character varying(10) NOT NULL,
    record character varying(100) NOT NULL,
    "user" text NOT NULL,
    method character varying(10) NOT NULL,
    target text NOT NULL,
    request_id character varying(128) NOT NULL,
    fields text NOT NULL,
    body text,
    base text,
    floor bigint,
    whole boolean NOT NULL,
    sealed bytea,
    state character varying(10) NOT NULL,
    sent boolean NOT NULL,
    attempts integer NOT NULL,
    reason text,
    proposal text,
    accepted_at bigint NOT NULL,
    due bigint NOT NULL,
    token bigint NOT NULL,
    settled_as character varying(100),
    settled bigint,
    by text
);


--
-- Name: outbox_seq_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.outbox_seq_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: outbox_seq_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.outbox_seq_seq OWNED BY public.outbox.seq;


--
-- Name: owners; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.owners (
    type character varying(100) NOT NULL,
    since bigint NOT NULL,
    by text NOT NULL,
    reason text NOT NULL
);


--
-- Name: parity; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.parity (
    endpoint character varying(200) NOT NULL,
    hour bigint NOT NULL,
    equal integer NOT NULL,
    different integer NOT NULL,
    unknown integer NOT NULL
);


--
-- Name: parity_samples; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.parity_samples (
    id integer NOT NULL,
    endpoint character varying(200) NOT NULL,
    at bigint NOT NULL,
    said text NOT NULL
);


--
-- Name: parity_samples_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.parity_samples_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: parity_samples_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.parity_samples_id_seq OWNED BY public.parity_samples.id;


--
-- Name: policy_deeds; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_deeds (
    id integer NOT NULL,
    kind character varying(10) NOT NULL,
    "user" character varying(200) NOT NULL,
    item character varying(100) NOT NULL,
    at bigint NOT NULL
);


--
-- Name: policy_deeds_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.policy_deeds_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: policy_deeds_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.policy_deeds_id_seq OWNED BY public.policy_deeds.id;


--
-- Name: policy_exceptions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_exceptions (
    policy character varying(100) NOT NULL,
    "user" character varying(200) NOT NULL,
    detail character varying(200) NOT NULL,
    at bigint NOT NULL,
    by text NOT NULL,
    reason text NOT NULL
);


--
-- Name: policy_habits; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_habits (
    "user" character varying(200) NOT NULL,
    day integer NOT NULL,
    most integer NOT NULL
);


--
-- Name: policy_modes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policy_modes (
    policy character varying(100) NOT NULL,
    mode character varying(10) NOT NULL,
    at bigint NOT NULL,
    by text NOT NULL,
    reason text NOT NULL
);


--
-- Name: records; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.records (
    type character varying(100) NOT NULL,
    id character varying(100) NOT NULL,
    state character varying(10) NOT NULL,
    body text,
    stamp bigint NOT NULL,
    observed bigint NOT NULL
);


--
-- Name: replies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.replies (
    endpoint character varying(200) NOT NULL,
    kind character varying(40) NOT NULL,
    status integer NOT NULL,
    content_type character varying(200) NOT NULL,
    body bytea NOT NULL,
    observed bigint NOT NULL
);


--
-- Name: revocations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.revocations (
    "user" character varying(200) NOT NULL,
    at bigint NOT NULL
);


--
-- Name: sightings; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sightings (
    caller character varying(200) NOT NULL,
    type character varying(100) NOT NULL,
    id character varying(100) NOT NULL
);


--
-- Name: standby_meta; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.standby_meta (
    name character varying(100) NOT NULL,
    value bigint NOT NULL
);


--
-- Name: tallies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tallies (
    process character varying(100) NOT NULL,
    endpoint character varying(200) NOT NULL,
    epoch integer NOT NULL,
    second bigint NOT NULL,
    good integer NOT NULL,
    bad integer NOT NULL,
    refused integer NOT NULL
);


--
-- Name: transitions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.transitions (
    id integer NOT NULL,
    at bigint NOT NULL,
    endpoint character varying(200) NOT NULL,
    before character varying(20) NOT NULL,
    after character varying(20) NOT NULL,
    reason text NOT NULL,
    by character varying(200) NOT NULL
);


--
-- Name: transitions_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.transitions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: transitions_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.transitions_id_seq OWNED BY public.transitions.id;


--
-- Name: views; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.views (
    caller character varying(200) NOT NULL,
    type character varying(100) NOT NULL,
    filters character varying(500) NOT NULL,
    ids text NOT NULL,
    stamp bigint NOT NULL,
    observed bigint NOT NULL
);


--
-- Name: writes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.writes (
    id character varying(40) NOT NULL,
    endpoint character varying(200) NOT NULL,
    type character varying(100) NOT NULL,
    record character varying(100),
    "user" text,
    process character varying(200) NOT NULL,
    accepted_at bigint NOT NULL,
    started bigint NOT NULL,
    ended bigint,
    outcome character varying(10) NOT NULL,
    fields text
);


--
-- Name: alert_deliveries id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alert_deliveries ALTER COLUMN id SET DEFAULT nextval('public.alert_deliveries_id_seq'::regclass);


--
-- Name: alert_history id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alert_history ALTER COLUMN id SET DEFAULT nextval('public.alert_history_id_seq'::regclass);


--
-- Name: credentials id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.credentials ALTER COLUMN id SET DEFAULT nextval('public.credentials_id_seq'::regclass);


--
-- Name: dashboard_trail id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dashboard_trail ALTER COLUMN id SET DEFAULT nextval('public.dashboard_trail_id_seq'::regclass);


--
-- Name: marks id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.marks ALTER COLUMN id SET DEFAULT nextval('public.marks_id_seq'::regclass);


--
-- Name: outbox seq; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.outbox ALTER COLUMN seq SET DEFAULT nextval('public.outbox_seq_seq'::regclass);


--
-- Name: parity_samples id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.parity_samples ALTER COLUMN id SET DEFAULT nextval('public.parity_samples_id_seq'::regclass);


--
-- Name: policy_deeds id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_deeds ALTER COLUMN id SET DEFAULT nextval('public.policy_deeds_id_seq'::regclass);


--
-- Name: transitions id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.transitions ALTER COLUMN id SET DEFAULT nextval('public.transitions_id_seq'::regclass);


--
-- Data for Name: alert_deliveries; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: alert_history; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alert_history VALUES (1, 1, 'k', 'ErrorBudgetBurn', 'page', 'fired', '', '');


--
-- Data for Name: alerts; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: aliases; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: calls; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: collections; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.collections VALUES ('patients', true, 1795573240588061757, 1795573240781702237, false);
INSERT INTO public.collections VALUES ('notes', true, 1795573241261175057, 1795573241268379427, false);


--
-- Data for Name: credentials; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.credentials VALUES (1, 'Dr Holt', 'scrypt:32768:8:1$DdhDT0xhgsLGHrLx$d9dfd79f63923bcfcc43562b0879cab464d4daf9b4382075b42e2546aa206a50c67e89fdf1c271bfd92e4cac09b0d6adc88b760a18c8f7345d4e3c2adb03bd0f', 1795573240746942358);


--
-- Data for Name: dashboard_attempts; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: dashboard_exports; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: dashboard_sessions; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: dashboard_trail; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.dashboard_trail VALUES (1, 1795573242989103553, '(command line)', '', '', 'user-add', 'Ms Pell as auditor', '', 'done');


--
-- Data for Name: dashboard_users; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.dashboard_users VALUES ('Ms Pell', 'auditor', 'scrypt:32768:8:1$MCmrDQoHpHBDr3Mg$e38216eb133a2171cb1d72402c92dfbcf62d110dd54a80e27e15ef6c724e656f1d9f922adc5157cc339bc6d2d1b1631fa9a76a161616b4409ffae7639a00f46c', NULL, 1795573242982479874);


--
-- Data for Name: endpoint_states; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.endpoint_states VALUES ('hospitals.create', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('hospitals.delete', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('hospitals.list', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('hospitals.read', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('hospitals.replace', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('hospitals.update', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('notes.create', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('notes.delete', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('notes.list', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('notes.read', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('notes.replace', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('notes.update', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('patients.create', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('patients.delete', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('patients.read', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('patients.replace', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('patients.screen', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('patients.update', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('staffs.create', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('staffs.delete', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('staffs.list', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('staffs.me', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('staffs.read', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('staffs.replace', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('staffs.update', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('status', 'auto', 0, 'closed', 0, 0, 0, '', '', 0, '');
INSERT INTO public.endpoint_states VALUES ('patients.list', 'standby', 100, 'closed', 0, 0, 0, '', '', 1795573240855363642, 'control');


--
-- Data for Name: identities; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.identities VALUES ('Dr Holt', '2');


--
-- Data for Name: leases; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.leases VALUES ('replay', 'vm/replay/2965', 1, 0);


--
-- Data for Name: made; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.made VALUES ('notes', '6', 1795573240634096382);


--
-- Data for Name: marks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.marks VALUES (1, 1795573241232148384, 'the first release', 'control');


--
-- Data for Name: outbox; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.outbox VALUES (1, '01a21081-55cb-7025-9d88-405425f2367d', 'notes.create', 'notes', 'create', '2000000000', 'Dr Holt', 'POST', '/notes', '01a21081-55c9-75ae-a58a-1e1838ed2df6', '{"title":"Waiting","patient_id":17}', '{"id":2000000000,"title":"Waiting","patient_id":17,"url":"/notes/2000000000.json"}', NULL, NULL, true, '\x7332d1e86f58ceb5d03ce415fcba9db710c701a566d8e8a4a69ffd4cca922e334e7daa349490a4fcc16785c14c66bf49f7096b5c90c57f281001e92659a512557797747bb70c4f5ffeb9d29a0035285bfdf8c8b3326a27e6a40ed0ff655726017783d3f84f28492009b3fc6847e203dbe03bf9f75131dccbc113bf81757afccc82c7a1e3f34ad665f8d6a607c3895ecbcab64cc50ddd096e2bbfabd316fc5387c3e8af6b0f126cf9c463daf70fb2fa7eebcfecffe92285be1ee4ee2de8c54565fe1382f71ca0509a0435704eedcf3874298308eca9e7b1c06fd2eef5986aad4f735d2ee0f7a187b5f7f9fd587833e5bb57a35df51f57ecac2cb9c14731bdc1d2233ba88cafdf6dcf5f7e29330e3b508ff41ccf47a5e5dcdc5b1e74963b8bce0c8792349b3396a1b9e35eeddb4e99da8fbfc5559b72ad34c03568da9cb3eccd8c7a49540d2d2393f7299bb366f070ef14e2203ea0d14bba7cfa3feaf8cbe3aa7642f9065deb06ecd7752961ce38dc396d379b41c0014f1b906340281f0626e6edf2b46ee263db23e0da2507e7af0ebc4adff9564e3ad48ca88c2a19fc8fc17c515bac7891d2c12e4074e3ee5080d72afee87c9aef6c66a6c7bcbe8428d85031ff3efdd36e655238c57ecaf7bba786b86031e7534110f744ca6919f6b1d15d86a21f1dfad10a459f9f37c9abb9303a954cf34eeb391824b8259f29b9059383e7d5018255d2b9ed665dec658c9a0e6b84d5716e68b7', 'pending', false, 1, 'not_sent', NULL, 1795573241299496035, 1795573242377776621, 1, NULL, NULL, NULL);


--
-- Data for Name: owners; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: parity; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.parity VALUES ('patients.list', 498770, 0, 0, 1);


--
-- Data for Name: parity_samples; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: policy_deeds; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: policy_exceptions; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: policy_habits; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: policy_modes; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: records; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.records VALUES ('notes', '5', 'known', '{"id":5,"title":"Round","patient_id":17,"url":"/notes/5.json"}', 1795573240569467383, 1795573240586028717);
INSERT INTO public.records VALUES ('notes', '6', 'known', '{"id":6,"title":"Settled","patient_id":17,"url":"/notes/6.json"}', 1795573240630984450, 1795573240631738250);
INSERT INTO public.records VALUES ('patients', '17', 'known', '{"id":17,"name":"Rex","url":"/patients/17.json"}', 1795573240588061757, 1795573240774380772);
INSERT INTO public.records VALUES ('staffs', '2', 'known', '{"id":2,"name":"Dr Holt"}', 1795573240603088115, 1795573240788609556);


--
-- Data for Name: replies; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.replies VALUES ('notes.create', 'good', 201, 'application/json; charset=utf-8', '\x', 1795573240637498966);
INSERT INTO public.replies VALUES ('patients.list', 'good', 200, 'application/json; charset=utf-8', '\x', 1795573240783078111);
INSERT INTO public.replies VALUES ('staffs.me', 'good', 200, 'application/json; charset=utf-8', '\x', 1795573240804906613);
INSERT INTO public.replies VALUES ('notes.list', 'good', 200, 'application/json; charset=utf-8', '\x', 1795573241269761340);


--
-- Data for Name: revocations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.revocations VALUES ('Dr Gone', 1795573241084799865);


--
-- Data for Name: sightings; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: standby_meta; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.standby_meta VALUES ('verified_since', 1795573240405542218);
INSERT INTO public.standby_meta VALUES ('changed:notes', 1795573240630984450);
INSERT INTO public.standby_meta VALUES ('next_provisional_id', 2000000000);
INSERT INTO public.standby_meta VALUES ('outbox_version', 4);


--
-- Data for Name: tallies; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tallies VALUES ('vm/gateway/2981', 'notes.create', 0, 1795573240, 1, 0, 0);
INSERT INTO public.tallies VALUES ('vm/gateway/2981', 'notes.list', 0, 1795573240, 1, 0, 0);
INSERT INTO public.tallies VALUES ('vm/gateway/2981', 'patients.list', 0, 1795573240, 1, 0, 0);
INSERT INTO public.tallies VALUES ('vm/gateway/2981', 'staffs.me', 0, 1795573240, 1, 0, 0);
INSERT INTO public.tallies VALUES ('vm/gateway/2981', 'notes.create', 0, 1795573241, 0, 1, 1);
INSERT INTO public.tallies VALUES ('vm/gateway/2981', 'notes.list', 0, 1795573241, 1, 0, 0);


--
-- Data for Name: transitions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.transitions VALUES (1, 1795573240855363642, 'patients.list', 'auto', 'standby', '', 'control');


--
-- Data for Name: views; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: writes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.writes VALUES ('01a21081-55cb-7025-9d88-405425f2367d', 'notes.create', 'notes', NULL, 'Dr Holt', 'vm/2981', 1795573241295943309, 1795573241291251860, 1795573241299491448, 'accepted', '{"patient_id":"17"}');


--
-- Name: alert_deliveries_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.alert_deliveries_id_seq', 1, false);


--
-- Name: alert_history_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.alert_history_id_seq', 1, true);


--
-- Name: credentials_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.credentials_id_seq', 1, true);


--
-- Name: dashboard_trail_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.dashboard_trail_id_seq', 1, true);


--
-- Name: marks_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.marks_id_seq', 1, true);


--
-- Name: outbox_seq_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.outbox_seq_seq', 1, true);


--
-- Name: parity_samples_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.parity_samples_id_seq', 1, false);


--
-- Name: policy_deeds_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.policy_deeds_id_seq', 1, false);


--
-- Name: transitions_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.transitions_id_seq', 1, true);


--
-- Name: alert_deliveries alert_deliveries_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alert_deliveries
    ADD CONSTRAINT alert_deliveries_key_key UNIQUE (key);


--
-- Name: alert_deliveries alert_deliveries_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alert_deliveries
    ADD CONSTRAINT alert_deliveries_pkey PRIMARY KEY (id);


--
-- Name: alert_history alert_history_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alert_history
    ADD CONSTRAINT alert_history_pkey PRIMARY KEY (id);


--
-- Name: alerts alerts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (key);


--
-- Name: aliases aliases_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT aliases_pkey PRIMARY KEY (type, id);


--
-- Name: calls calls_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.calls
    ADD CONSTRAINT calls_pkey PRIMARY KEY (endpoint, input);


--
-- Name: collections collections_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.collections
    ADD CONSTRAINT collections_pkey PRIMARY KEY (type);


--
-- Name: credentials credentials_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.credentials
    ADD CONSTRAINT credentials_pkey PRIMARY KEY (id);


--
-- Name: dashboard_attempts dashboard_attempts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dashboard_attempts
    ADD CONSTRAINT dashboard_attempts_pkey PRIMARY KEY (key);


--
-- Name: dashboard_exports dashboard_exports_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dashboard_exports
    ADD CONSTRAINT dashboard_exports_pkey PRIMARY KEY (id);


--
-- Name: dashboard_sessions dashboard_sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dashboard_sessions
    ADD CONSTRAINT dashboard_sessions_pkey PRIMARY KEY (id);


--
-- Name: dashboard_trail dashboard_trail_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dashboard_trail
    ADD CONSTRAINT dashboard_trail_pkey PRIMARY KEY (id);


--
-- Name: dashboard_users dashboard_users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dashboard_users
    ADD CONSTRAINT dashboard_users_pkey PRIMARY KEY (name);


--
-- Name: dashboard_users dashboard_users_subject_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dashboard_users
    ADD CONSTRAINT dashboard_users_subject_key UNIQUE (subject);


--
-- Name: endpoint_states endpoint_states_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.endpoint_states
    ADD CONSTRAINT endpoint_states_pkey PRIMARY KEY (endpoint);


--
-- Name: identities identities_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (caller);


--
-- Name: leases leases_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (name);


--
-- Name: made made_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.made
    ADD CONSTRAINT made_pkey PRIMARY KEY (type, id);


--
-- Name: marks marks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.marks
    ADD CONSTRAINT marks_pkey PRIMARY KEY (id);


--
-- Name: outbox outbox_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_id_key UNIQUE (id);


--
-- Name: outbox outbox_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (seq);


--
-- Name: owners owners_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.owners
    ADD CONSTRAINT owners_pkey PRIMARY KEY (type);


--
-- Name: parity parity_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.parity
    ADD CONSTRAINT parity_pkey PRIMARY KEY (endpoint, hour);


--
-- Name: parity_samples parity_samples_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.parity_samples
    ADD CONSTRAINT parity_samples_pkey PRIMARY KEY (id);


--
-- Name: policy_deeds policy_deeds_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_deeds
    ADD CONSTRAINT policy_deeds_pkey PRIMARY KEY (id);


--
-- Name: policy_exceptions policy_exceptions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_exceptions
    ADD CONSTRAINT policy_exceptions_pkey PRIMARY KEY (policy, "user", detail);


--
-- Name: policy_habits policy_habits_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_habits
    ADD CONSTRAINT policy_habits_pkey PRIMARY KEY ("user", day);


--
-- Name: policy_modes policy_modes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policy_modes
    ADD CONSTRAINT policy_modes_pkey PRIMARY KEY (policy);


--
-- Name: records records_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.records
    ADD CONSTRAINT records_pkey PRIMARY KEY (type, id);


--
-- Name: replies replies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.replies
    ADD CONSTRAINT replies_pkey PRIMARY KEY (endpoint, kind);


--
-- Name: revocations revocations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY ("user");


--
-- Name: sightings sightings_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sightings
    ADD CONSTRAINT sightings_pkey PRIMARY KEY (caller, type, id);


--
-- Name: standby_meta standby_meta_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.standby_meta
    ADD CONSTRAINT standby_meta_pkey PRIMARY KEY (name);


--
-- Name: tallies tallies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tallies
    ADD CONSTRAINT tallies_pkey PRIMARY KEY (process, endpoint, epoch, second);


--
-- Name: transitions transitions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.transitions
    ADD CONSTRAINT transitions_pkey PRIMARY KEY (id);


--
-- Name: views views_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.views
    ADD CONSTRAINT views_pkey PRIMARY KEY (caller, type, filters);


--
-- Name: writes writes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.writes
    ADD CONSTRAINT writes_pkey PRIMARY KEY (id);


--
-- Name: ix_alert_deliveries_line; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_alert_deliveries_line ON public.alert_deliveries USING btree (line);


--
-- Name: ix_alert_deliveries_state; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_alert_deliveries_state ON public.alert_deliveries USING btree (state);


--
-- Name: ix_alert_history_key; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_alert_history_key ON public.alert_history USING btree (key);


--
-- Name: ix_calls_observed; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_calls_observed ON public.calls USING btree (observed);


--
-- Name: ix_credentials_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_credentials_user ON public.credentials USING btree ("user");


--
-- Name: ix_dashboard_sessions_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_dashboard_sessions_user ON public.dashboard_sessions USING btree ("user");


--
-- Name: ix_dashboard_trail_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_dashboard_trail_at ON public.dashboard_trail USING btree (at);


--
-- Name: ix_dashboard_trail_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_dashboard_trail_user ON public.dashboard_trail USING btree ("user");


--
-- Name: ix_outbox_record; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_outbox_record ON public.outbox USING btree (record);


--
-- Name: ix_outbox_settled; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_outbox_settled ON public.outbox USING btree (settled);


--
-- Name: ix_outbox_state; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_outbox_state ON public.outbox USING btree (state);


--
-- Name: ix_policy_deeds_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_policy_deeds_at ON public.policy_deeds USING btree (at);


--
-- Name: ix_tallies_second; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_tallies_second ON public.tallies USING btree (second);


--
-- Name: writes_by_record; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX writes_by_record ON public.writes USING btree (type, record);


--
-- Name: writes_open; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX writes_open ON public.writes USING btree (ended);


--
-- PostgreSQL database dump complete
--

\unrestrict T0LRiOY0TznydMn8Nl9UvhdxUwwYb70Z7npYyBucPFRjMOawMxrs7vnOTr8Wvck

