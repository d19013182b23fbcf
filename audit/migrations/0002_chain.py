"""The chain itself: numbering, time and hashes are set by the database, and nothing is ever changed."""

from django.db import migrations

HASH_FUNCTION = r"""
CREATE FUNCTION audit_entry_hash(
    organization_id uuid, organization text, seq bigint, at timestamptz, actor_type text,
    actor_id text, actor text, action text, target_type text, target_id text, target text,
    before jsonb, after jsonb, request_id text, previous_hash text
) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT encode(sha256('\x00'::bytea || convert_to(string_agg(octet_length(field) || ':' || field || ',', '' ORDER BY place), 'UTF8')), 'hex')
      FROM unnest(ARRAY[
          organization_id::text, organization, seq::text,
          to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
          actor_type, actor_id, actor, action, target_type, target_id, target,
          coalesce(before::text, ''), coalesce(after::text, ''), request_id, previous_hash
      ]) WITH ORDINALITY AS fields(field, place)
$$;
"""

CHAIN_TRIGGER = """
CREATE FUNCTION audit_entry_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE head audit_audithead;
BEGIN
    INSERT INTO audit_audithead (organization_id, seq, hash)
         VALUES (new.organization_id, 0, repeat('0', 64)) ON CONFLICT DO NOTHING;
    SELECT * INTO head FROM audit_audithead h
     WHERE h.organization_id = new.organization_id FOR UPDATE;
    new.seq := head.seq + 1;
    new.previous_hash := head.hash;
    new.at := clock_timestamp();
    new.hash := audit_entry_hash(
        new.organization_id, new.organization, new.seq, new.at, new.actor_type, new.actor_id,
        new.actor, new.action, new.target_type, new.target_id, new.target, new.before, new.after,
        new.request_id, new.previous_hash);
    UPDATE audit_audithead h SET seq = new.seq, hash = new.hash
     WHERE h.organization_id = new.organization_id;
    RETURN new;
END $$;
CREATE TRIGGER audit_entry_chain BEFORE INSERT ON audit_auditentry
   FOR EACH ROW EXECUTE FUNCTION audit_entry_chain();
"""

APPEND_ONLY = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only.' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE ON audit_auditentry
   FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON audit_auditentry
   FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [
        migrations.RunSQL(
            HASH_FUNCTION + CHAIN_TRIGGER + APPEND_ONLY,
            """
            DROP TRIGGER audit_entry_chain ON audit_auditentry;
            DROP TRIGGER audit_entry_append_only ON audit_auditentry;
            DROP TRIGGER audit_entry_no_truncate ON audit_auditentry;
            DROP FUNCTION audit_entry_chain(); DROP FUNCTION audit_refuse_change();
            DROP FUNCTION audit_entry_hash;
            """,
        )
    ]
