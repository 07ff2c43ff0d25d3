BEGIN TRANSACTION;
CREATE TABLE alert_deliveries (
	id INTEGER NOT NULL, 
	"key" VARCHAR(300) NOT NULL, 
	channel VARCHAR(50) NOT NULL, 
	line VARCHAR(200) NOT NULL, 
	content TEXT NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	tries INTEGER NOT NULL, 
	made_at BIGINT NOT NULL, 
	due_at BIGINT NOT NULL, 
	done_at BIGINT NOT NULL, 
	said TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE ("key")
);
CREATE TABLE alert_history (
	id INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	"key" VARCHAR(16) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	severity VARCHAR(20) NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	"by" VARCHAR(200) NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "alert_history" VALUES(1,1,'k','ErrorBudgetBurn','page','fired','','');
CREATE TABLE alerts (
	"key" VARCHAR(16) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	severity VARCHAR(20) NOT NULL, 
	source VARCHAR(50) NOT NULL, 
	labels TEXT NOT NULL, 
	notes TEXT NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	since BIGINT NOT NULL, 
	fired_at BIGINT NOT NULL, 
	resolved_at BIGINT NOT NULL, 
	sent_at BIGINT NOT NULL, 
	told BOOLEAN NOT NULL, 
	episode INTEGER NOT NULL, 
	acknowledged_by VARCHAR(200) NOT NULL, 
	silenced_until BIGINT NOT NULL, 
	silenced_by VARCHAR(200) NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE TABLE leases (
	name VARCHAR(100) NOT NULL, 
	holder VARCHAR(200) NOT NULL, 
	token BIGINT NOT NULL, 
	until BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE INDEX ix_alert_history_key ON alert_history ("key");
CREATE INDEX ix_alert_deliveries_line ON alert_deliveries (line);
CREATE INDEX ix_alert_deliveries_state ON alert_deliveries (state);
COMMIT;
