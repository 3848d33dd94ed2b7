-- One owner role and one app role per service, and its schema. Run once per database by an administrator, before the first
-- migration; running it again changes nothing. Passwords are set apart from it: alter role ... password '...'.
--
-- The owner role migrates. The app role serves: no DDL, only what the migrations grant it, and no other schema. Its search
-- path is empty, so that a statement that forgets to name its schema fails at once.

create extension if not exists btree_gist with schema public;
revoke create on schema public from public;

do $$
declare
    service text;
begin
    foreach service in array array['account', 'workspace', 'billing', 'settlement'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = 'tallystick_' || service || '_owner') then
            execute format('create role %I login', 'tallystick_' || service || '_owner');
        end if;
        if not exists (select from pg_catalog.pg_roles where rolname = 'tallystick_' || service || '_app') then
            execute format('create role %I login', 'tallystick_' || service || '_app');
        end if;
        execute format('alter role %I set search_path = ''''', 'tallystick_' || service || '_owner');
        execute format('alter role %I set search_path = ''''', 'tallystick_' || service || '_app');
        execute format('grant %I to current_user', 'tallystick_' || service || '_owner');
        execute format('create schema if not exists %I authorization %I', service, 'tallystick_' || service || '_owner');
        execute format('revoke all on schema %I from public', service);
        execute format('grant usage on schema %I to %I', service, 'tallystick_' || service || '_app');
    end loop;
end
$$;
