-- Roles, databases and extensions of ARC Web, for a superuser, on an empty or an older cluster.
--
-- Run by psql: by the embedded stack, and by the PostgreSQL image from /docker-entrypoint-initdb.d/.
-- From the environment:
--   ARC_DB_PASSWORD            password of the application's role (needed)
--   ARC_REPLICATION_PASSWORD   password of arc_replication (needed)
--   ARC_DB_USER, ARC_DB_NAME   role and database of the application (arc, arc)
--   ARC_DB_TEMPLATE            template with the extensions (arc_template)
-- Idempotent. Tables are made by the application's migrations, not here.

\set ON_ERROR_STOP on
\set db_user arc
\set db_name arc
\set db_template arc_template
\getenv db_user ARC_DB_USER
\getenv db_name ARC_DB_NAME
\getenv db_template ARC_DB_TEMPLATE
\getenv db_password ARC_DB_PASSWORD
\getenv replication_password ARC_REPLICATION_PASSWORD

SET client_min_messages = warning;
-- The passwords below must not reach the log or the statistics of statements.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
LOAD 'pg_stat_statements';
SET pg_stat_statements.track = 'none';

\if :{?db_password}
\else
DO $$ BEGIN RAISE EXCEPTION 'Set ARC_DB_PASSWORD to the password of the application''s role.'; END $$;
\endif
\if :{?replication_password}
\else
DO $$ BEGIN RAISE EXCEPTION 'Set ARC_REPLICATION_PASSWORD to the password of the role arc_replication.'; END $$;
\endif

-- Roles -----------------------------------------------------------------------------------------
SELECT format('CREATE ROLE %I', :'db_user')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'db_user') \gexec
SELECT 'CREATE ROLE arc_replication'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'arc_replication') \gexec
ALTER ROLE :"db_user" LOGIN NOSUPERUSER CREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'db_password';
ALTER ROLE arc_replication LOGIN NOSUPERUSER REPLICATION PASSWORD :'replication_password';
GRANT pg_monitor, pg_signal_backend TO :"db_user";

-- What the application may tune. Nothing here names a file, a program or a library.
GRANT ALTER SYSTEM ON PARAMETER
    shared_buffers, effective_cache_size, work_mem, maintenance_work_mem, autovacuum_work_mem,
    hash_mem_multiplier, temp_buffers, max_connections,
    max_wal_size, min_wal_size, wal_buffers, wal_compression, checkpoint_timeout, checkpoint_completion_target,
    random_page_cost, seq_page_cost, effective_io_concurrency, maintenance_io_concurrency,
    default_statistics_target, jit,
    max_worker_processes, max_parallel_workers, max_parallel_workers_per_gather,
    max_parallel_maintenance_workers,
    autovacuum_max_workers, autovacuum_naptime, autovacuum_vacuum_threshold, autovacuum_vacuum_scale_factor,
    autovacuum_vacuum_insert_threshold, autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_threshold,
    autovacuum_analyze_scale_factor, autovacuum_vacuum_cost_limit, autovacuum_vacuum_cost_delay,
    idle_in_transaction_session_timeout, lock_timeout, statement_timeout,
    log_min_duration_statement, log_lock_waits, log_temp_files, log_autovacuum_min_duration, track_io_timing
TO :"db_user";

-- The template: only a superuser may create these extensions, anybody may copy a template that has them.
SELECT format('CREATE DATABASE %I', :'db_template')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db_template') \gexec
ALTER DATABASE :"db_template" IS_TEMPLATE true;
-- A session in it would hold up every copy.
REVOKE CONNECT ON DATABASE :"db_template" FROM PUBLIC;
\connect :"db_template"
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
GRANT EXECUTE ON FUNCTION pg_reload_conf(), pg_show_all_file_settings() TO :"db_user";
GRANT SELECT ON pg_file_settings TO :"db_user";

-- The application's database --------------------------------------------------------------------
\connect postgres
SET client_min_messages = warning;
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE %I', :'db_name', :'db_user', :'db_template')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'db_name') \gexec
\connect :"db_name"
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
GRANT EXECUTE ON FUNCTION pg_reload_conf(), pg_show_all_file_settings() TO :"db_user";
GRANT SELECT ON pg_file_settings TO :"db_user";
CREATE SCHEMA IF NOT EXISTS agents AUTHORIZATION :"db_user";
CREATE SCHEMA IF NOT EXISTS events AUTHORIZATION :"db_user";
