BEGIN TRANSACTION;
CREATE TABLE aliases (
	type VARCHAR(100) NOT NULL, 
	id VARCHAR(100) NOT NULL, 
	real VARCHAR(100) NOT NULL, 
	PRIMARY KEY (type, id)
);
CREATE TABLE calls (
	endpoint VARCHAR(200) NOT NULL, 
	input VARCHAR(64) NOT NULL, 
	status INTEGER NOT NULL, 
	content_type VARCHAR(200) NOT NULL, 
	body BLOB NOT NULL, 
	observed BIGINT NOT NULL, 
	PRIMARY KEY (endpoint, input)
);
CREATE TABLE collections (
	type VARCHAR(100) NOT NULL, 
	complete BOOLEAN NOT NULL, 
	stamp BIGINT NOT NULL, 
	observed BIGINT NOT NULL, 
	private BOOLEAN NOT NULL, 
	PRIMARY KEY (type)
);
INSERT INTO "collections" VALUES('notes',1,1795573237461511296,1795573237465181397,0);
INSERT INTO "collections" VALUES('patients',1,1795573236928213665,1795573237072701874,0);
CREATE TABLE credentials (
	id INTEGER NOT NULL, 
	user VARCHAR(200) NOT NULL, 
	hash VARCHAR(300) NOT NULL, 
	accepted_at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "credentials" VALUES(1,'Dr Holt','scrypt:32768:8:1$8lmFIK8cvXUG6NW2$309838e968bfd5b85dfc6fe4c00803d2ea8e13ea4af2e23444c5c1ff4f36ffce2589ab448d3771598f7c7a93652b1e60feb06fec353ebcb5d689295f51df8a1a',1795573237068257954);
CREATE TABLE dashboard_attempts (
	"key" VARCHAR(300) NOT NULL, 
	failures INTEGER NOT NULL, 
	until BIGINT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE dashboard_exports (
	id VARCHAR(32) NOT NULL, 
	user VARCHAR(200) NOT NULL, 
	at BIGINT NOT NULL, 
	form VARCHAR(10) NOT NULL, 
	"view" TEXT NOT NULL, 
	total INTEGER, 
	done INTEGER NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	detail TEXT NOT NULL, 
	beat BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE dashboard_sessions (
	id VARCHAR(64) NOT NULL, 
	user VARCHAR(200) NOT NULL, 
	csrf VARCHAR(64) NOT NULL, 
	created_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	agent VARCHAR(300) NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE dashboard_trail (
	id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	user VARCHAR(200) NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	address VARCHAR(64) NOT NULL, 
	action VARCHAR(40) NOT NULL, 
	subject TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	outcome VARCHAR(300) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "dashboard_trail" VALUES(1,1795573238682679867,'(command line)','','','user-add','Ms Pell as auditor','','done');
CREATE TABLE dashboard_users (
	name VARCHAR(200) NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	password VARCHAR(300), 
	subject VARCHAR(500), 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (name), 
	UNIQUE (subject)
);
INSERT INTO "dashboard_users" VALUES('Ms Pell','auditor','scrypt:32768:8:1$6mEuPfY0KJdNidAc$98c848cc5c9184652e612d8c59ba60ef34549685a7ea01974abaff6c69820e4f1a6aa598cfbecb010909197a71a0cf6b4049f22d95b295aebb41452f1eb7e685',NULL,1795573238679428108);
CREATE TABLE endpoint_states (
	endpoint VARCHAR(200) NOT NULL, 
	mode VARCHAR(20) NOT NULL, 
	percent FLOAT NOT NULL, 
	circuit VARCHAR(20) NOT NULL, 
	opened BIGINT NOT NULL, 
	backoff FLOAT NOT NULL, 
	epoch INTEGER NOT NULL, 
	circuit_reason VARCHAR(40) NOT NULL, 
	reason TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	changed_by VARCHAR(200) NOT NULL, 
	PRIMARY KEY (endpoint)
);
INSERT INTO "endpoint_states" VALUES('hospitals.create','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('hospitals.delete','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('hospitals.list','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('hospitals.read','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('hospitals.replace','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('hospitals.update','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('notes.create','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('notes.delete','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('notes.list','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('notes.read','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('notes.replace','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('notes.update','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('patients.create','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('patients.delete','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('patients.list','standby',100.0,'closed',0,0.0,0,'','',1795573237127114694,'control');
INSERT INTO "endpoint_states" VALUES('patients.read','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('patients.replace','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('patients.screen','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('patients.update','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('staffs.create','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('staffs.delete','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('staffs.list','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('staffs.me','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('staffs.read','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('staffs.replace','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('staffs.update','auto',0.0,'closed',0,0.0,0,'','',0,'');
INSERT INTO "endpoint_states" VALUES('status','auto',0.0,'closed',0,0.0,0,'','',0,'');
CREATE TABLE identities (
	caller VARCHAR(200) NOT NULL, 
	id VARCHAR(100) NOT NULL, 
	PRIMARY KEY (caller)
);
INSERT INTO "identities" VALUES('Dr Holt','2');
CREATE TABLE leases (
	name VARCHAR(100) NOT NULL, 
	holder VARCHAR(200) NOT NULL, 
	token BIGINT NOT NULL, 
	until BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "leases" VALUES('replay','vm/replay/2879',1,0);
CREATE TABLE made (
	type VARCHAR(100) NOT NULL, 
	id VARCHAR(100) NOT NULL, 
	stamp BIGINT NOT NULL, 
	PRIMARY KEY (type, id)
);
INSERT INTO "made" VALUES('notes','6',1795573236964568002);
CREATE TABLE marks (
	id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	text TEXT NOT NULL, 
	"by" VARCHAR(200) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "marks" VALUES(1,1795573237421391896,'the first release','control');
CREATE TABLE outbox (
	seq INTEGER NOT NULL, 
	id VARCHAR(40) NOT NULL, 
	endpoint VARCHAR(200) NOT NULL, 
	type VARCHAR(100) NOT NULL, 
	action VARCHAR(10) NOT NULL, 
	record VARCHAR(100) NOT NULL, 
	user TEXT NOT NULL, 
	method VARCHAR(10) NOT NULL, 
	target TEXT NOT NULL, 
	request_id VARCHAR(128) NOT NULL, 
	fields TEXT NOT NULL, 
	body TEXT, 
	base TEXT, 
	floor BIGINT, 
	whole BOOLEAN NOT NULL, 
	sealed BLOB, 
	state VARCHAR(10) NOT NULL, 
	sent BOOLEAN NOT NULL, 
	attempts INTEGER NOT NULL, 
	reason TEXT, 
	proposal TEXT, 
	accepted_at BIGINT NOT NULL, 
	due BIGINT NOT NULL, 
	token BIGINT NOT NULL, 
	settled_as VARCHAR(100), 
	settled BIGINT, 
	"by" TEXT, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "outbox" VALUES(1,'01a21081-46e3-7bc2-a600-7e160a024072','notes.create','notes','create','2000000000','Dr Holt','POST','/notes','01a21081-46e3-7d45-85df-b9d39cf0a68b','{"title":"Waiting","patient_id":17}','{"id":2000000000,"title":"Waiting","patient_id":17,"url":"/notes/2000000000.json"}',NULL,NULL,1,X'01D51FFA43502EEB13C3C86C5887843E2065B01F0ECAC0458BE5EBC196E3FE316AD966BDF11E7F3EED71D1F1305A0FFC2B1BED11E6DD6E8357D26617D0D52AB908CBB6EDA7E154666C4A4A9388FC829A3E4C6CCB65B7ADCEA68162B71FE8CD0CAF17D08579FAEFF0AF00F81C6DEA9B6DE4710813EFE4B9D23930EEA334E52520DCB36D8EAEDCF78D565CB7A4A14F9BAE5F6599685947A3E7592E4DBF382C8236DF6AC56D8F620A7119263FE09EDFE4D2F19DFDE427C68DC4A1FFB03AFC6F9BDB7BAB20A0CB8AB7EDDE58DB948093C3CA19714968D47736CD4960F5A08A0B86FFD6F21E43142543E9D16D635B13212052F8182129BA5ADBA6DC4BCE0B249D57B0D00F3D20058DC200C1E03ADE0005DA75290489712CD6BE2B939FAB74013C000B6771C6FC4221CF1A808C9EEB9D0EB6CD539ADD3E14B16A90D1A884BEDD67992ED82E2806BEF8B2B8963104CFC99C28C651287AB7B4616F5E381905F7885CB5E724891695AE643ECA07B9E08CC605F6646557CD3C2BF0299F61781835B14702D163B19DC652B267D97B5DF9223E1767C0F274E3B9CB7B66FE0C4CC8BEB6036C4802B2E4BC733207B140A454D950BBB63756641619B93E5BE6E4FC1CE330FC3D7749B6FF271292D11F2536262DE95EA2DC5DE88D990EB225E11344FA8538E923A62B4692A4B25528AFA56ACDAD878C1DD9BAD4995E8221D49BA095B0D617BEDE01FB08EB13FCEF561FB1D93E1EEA47FFE8E17E24F5','pending',0,0,NULL,NULL,1795573237479901832,1795573237479896183,0,NULL,NULL,NULL);
CREATE TABLE owners (
	type VARCHAR(100) NOT NULL, 
	since BIGINT NOT NULL, 
	"by" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (type)
);
CREATE TABLE parity (
	endpoint VARCHAR(200) NOT NULL, 
	hour BIGINT NOT NULL, 
	equal INTEGER NOT NULL, 
	different INTEGER NOT NULL, 
	unknown INTEGER NOT NULL, 
	PRIMARY KEY (endpoint, hour)
);
CREATE TABLE parity_samples (
	id INTEGER NOT NULL, 
	endpoint VARCHAR(200) NOT NULL, 
	at BIGINT NOT NULL, 
	said TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE policy_deeds (
	id INTEGER NOT NULL, 
	kind VARCHAR(10) NOT NULL, 
	user VARCHAR(200) NOT NULL, 
	item VARCHAR(100) NOT NULL, 
	at BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE policy_exceptions (
	policy VARCHAR(100) NOT NULL, 
	user VARCHAR(200) NOT NULL, 
	detail VARCHAR(200) NOT NULL, 
	at BIGINT NOT NULL, 
	"by" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (policy, user, detail)
);
CREATE TABLE policy_habits (
	user VARCHAR(200) NOT NULL, 
	day INTEGER NOT NULL, 
	most INTEGER NOT NULL, 
	PRIMARY KEY (user, day)
);
CREATE TABLE policy_modes (
	policy VARCHAR(100) NOT NULL, 
	mode VARCHAR(10) NOT NULL, 
	at BIGINT NOT NULL, 
	"by" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (policy)
);
CREATE TABLE records (
	type VARCHAR(100) NOT NULL, 
	id VARCHAR(100) NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	body TEXT, 
	stamp BIGINT NOT NULL, 
	observed BIGINT NOT NULL, 
	PRIMARY KEY (type, id)
);
INSERT INTO "records" VALUES('notes','5','known','{"id":5,"title":"Round","patient_id":17,"url":"/notes/5.json"}',1795573236920363835,1795573236934172526);
INSERT INTO "records" VALUES('notes','6','known','{"id":6,"title":"Settled","patient_id":17,"url":"/notes/6.json"}',1795573236958935035,1795573236959167170);
INSERT INTO "records" VALUES('patients','17','known','{"id":17,"name":"Rex","url":"/patients/17.json"}',1795573236928213665,1795573237071335415);
INSERT INTO "records" VALUES('staffs','2','known','{"id":2,"name":"Dr Holt"}',1795573236938923142,1795573237075573429);
CREATE TABLE replies (
	endpoint VARCHAR(200) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	status INTEGER NOT NULL, 
	content_type VARCHAR(200) NOT NULL, 
	body BLOB NOT NULL, 
	observed BIGINT NOT NULL, 
	PRIMARY KEY (endpoint, kind)
);
INSERT INTO "replies" VALUES('notes.create','good',201,'application/json; charset=utf-8',X'',1795573236966196471);
INSERT INTO "replies" VALUES('patients.list','good',200,'application/json; charset=utf-8',X'',1795573237073226413);
INSERT INTO "replies" VALUES('staffs.me','good',200,'application/json; charset=utf-8',X'',1795573237076996884);
INSERT INTO "replies" VALUES('notes.list','good',200,'application/json; charset=utf-8',X'',1795573237469039087);
CREATE TABLE revocations (
	user VARCHAR(200) NOT NULL, 
	at BIGINT NOT NULL, 
	PRIMARY KEY (user)
);
INSERT INTO "revocations" VALUES('Dr Gone',1795573237282447050);
CREATE TABLE sightings (
	caller VARCHAR(200) NOT NULL, 
	type VARCHAR(100) NOT NULL, 
	id VARCHAR(100) NOT NULL, 
	PRIMARY KEY (caller, type, id)
);
CREATE TABLE standby_meta (
	name VARCHAR(100) NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "standby_meta" VALUES('verified_since',1795573236767089145);
INSERT INTO "standby_meta" VALUES('changed:notes',1795573236958935035);
INSERT INTO "standby_meta" VALUES('next_provisional_id',2000000000);
INSERT INTO "standby_meta" VALUES('outbox_version',1);
CREATE TABLE tallies (
	process VARCHAR(100) NOT NULL, 
	endpoint VARCHAR(200) NOT NULL, 
	epoch INTEGER NOT NULL, 
	second BIGINT NOT NULL, 
	good INTEGER NOT NULL, 
	bad INTEGER NOT NULL, 
	refused INTEGER NOT NULL, 
	PRIMARY KEY (process, endpoint, epoch, second)
);
INSERT INTO "tallies" VALUES('vm/gateway/2889','notes.create',0,1795573236,1,0,0);
INSERT INTO "tallies" VALUES('vm/gateway/2889','notes.list',0,1795573236,1,0,0);
INSERT INTO "tallies" VALUES('vm/gateway/2889','patients.list',0,1795573236,1,0,0);
INSERT INTO "tallies" VALUES('vm/gateway/2889','staffs.me',0,1795573236,1,0,0);
INSERT INTO "tallies" VALUES('vm/gateway/2889','notes.create',0,1795573237,0,1,1);
INSERT INTO "tallies" VALUES('vm/gateway/2889','notes.list',0,1795573237,1,0,0);
CREATE TABLE transitions (
	id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	endpoint VARCHAR(200) NOT NULL, 
	"before" VARCHAR(20) NOT NULL, 
	"after" VARCHAR(20) NOT NULL, 
	reason TEXT NOT NULL, 
	"by" VARCHAR(200) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "transitions" VALUES(1,1795573237127114694,'patients.list','auto','standby','','control');
CREATE TABLE views (
	caller VARCHAR(200) NOT NULL, 
	type VARCHAR(100) NOT NULL, 
	filters VARCHAR(500) NOT NULL, 
	ids TEXT NOT NULL, 
	stamp BIGINT NOT NULL, 
	observed BIGINT NOT NULL, 
	PRIMARY KEY (caller, type, filters)
);
CREATE TABLE writes (
	id VARCHAR(40) NOT NULL, 
	endpoint VARCHAR(200) NOT NULL, 
	type VARCHAR(100) NOT NULL, 
	record VARCHAR(100), 
	user TEXT, 
	process VARCHAR(200) NOT NULL, 
	accepted_at BIGINT NOT NULL, 
	started BIGINT NOT NULL, 
	ended BIGINT, 
	outcome VARCHAR(10) NOT NULL, 
	fields TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "writes" VALUES('01a21081-46e3-7bc2-a600-7e160a024072','notes.create','notes',NULL,'Dr Holt','vm/2889',1795573237477670758,1795573237475902902,1795573237479896183,'accepted','{"patient_id":"17"}');
CREATE INDEX ix_tallies_second ON tallies (second);
CREATE INDEX writes_by_record ON writes (type, record);
CREATE INDEX writes_open ON writes (ended);
CREATE INDEX ix_credentials_user ON credentials (user);
CREATE INDEX ix_calls_observed ON calls (observed);
CREATE INDEX ix_outbox_record ON outbox (record);
CREATE INDEX ix_outbox_settled ON outbox (settled);
CREATE INDEX ix_outbox_state ON outbox (state);
CREATE INDEX ix_policy_deeds_at ON policy_deeds (at);
CREATE INDEX ix_dashboard_sessions_user ON dashboard_sessions (user);
CREATE INDEX ix_dashboard_trail_user ON dashboard_trail (user);
CREATE INDEX ix_dashboard_trail_at ON dashboard_trail (at);
COMMIT;
