"""What was published never changes; the life of an update; its trail; composite tenant keys."""

from django.db import migrations

from common.tenant_sql import same_tenant, tenant_key

RELEASE = """
CREATE FUNCTION releases_release_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'DELETE' THEN
        IF old.state IN ('published', 'withdrawn') THEN
            RAISE EXCEPTION 'A published release stays.' USING ERRCODE = 'check_violation';
        END IF;
        RETURN old;
    END IF;
    IF (new.version, new.commit, new.organization_id)
       IS DISTINCT FROM (old.version, old.commit, old.organization_id) THEN
        RAISE EXCEPTION 'Version and commit of a release never change.'
              USING ERRCODE = 'check_violation';
    END IF;
    IF new.state <> old.state AND (old.state, new.state) NOT IN (
        ('draft', 'validated'), ('validated', 'draft'), ('validated', 'published'),
        ('published', 'withdrawn')) THEN
        RAISE EXCEPTION 'A release cannot go from % to %.', old.state, new.state
              USING ERRCODE = 'check_violation';
    END IF;
    IF old.state IN ('published', 'withdrawn') AND (
        new.roles, new.channel, new.changelog, new.required_migration, new.feature_flags,
        new.counter, new.published_at)
       IS DISTINCT FROM (
        old.roles, old.channel, old.changelog, old.required_migration, old.feature_flags,
        old.counter, old.published_at) THEN
        RAISE EXCEPTION 'A published release never changes.' USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER releases_release_kept BEFORE UPDATE OR DELETE ON releases_release
   FOR EACH ROW EXECUTE FUNCTION releases_release_kept();

-- Of a bundle of a published release only its file may go, when nothing needs it any more.
CREATE FUNCTION releases_artifact_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE issued boolean;
BEGIN
    SELECT r.state IN ('published', 'withdrawn') INTO issued
      FROM releases_release r WHERE r.id = coalesce(old.release_id, new.release_id);
    IF NOT coalesce(issued, false) THEN
        RETURN coalesce(new, old);
    END IF;
    IF tg_op <> 'UPDATE' OR (new.release_id, new.role, new.size, new.sha256, new.files,
                             new.compose_path, new.compose_sha256)
       IS DISTINCT FROM (old.release_id, old.role, old.size, old.sha256, old.files,
                         old.compose_path, old.compose_sha256) THEN
        RAISE EXCEPTION 'A published release keeps its bundles.'
              USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER releases_artifact_kept BEFORE INSERT OR UPDATE OR DELETE ON releases_artifact
   FOR EACH ROW EXECUTE FUNCTION releases_artifact_kept();

CREATE FUNCTION releases_trust_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Signed metadata is written once.' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER releases_trustmetadata_kept BEFORE UPDATE ON releases_trustmetadata
   FOR EACH ROW EXECUTE FUNCTION releases_trust_kept();

-- Whoever signs a target signs these bytes; when it was signed or withdrawn may be noted.
CREATE TRIGGER releases_trusttarget_kept
   BEFORE UPDATE OF organization_id, release_id, artifact_id, path, sha256, content, created_at
   ON releases_trusttarget FOR EACH ROW EXECUTE FUNCTION releases_trust_kept();
"""

# The same moves as MOVES in releases/models/updates.py; a test compares the two.
ALLOWED = """
    ('scheduled', 'offered'), ('scheduled', 'downloading'), ('scheduled', 'installing'),
    ('scheduled', 'claimed'), ('scheduled', 'failed'), ('scheduled', 'cancelled'),
    ('offered', 'scheduled'), ('offered', 'downloading'), ('offered', 'installing'),
    ('offered', 'claimed'), ('offered', 'failed'), ('offered', 'rolled_back'),
    ('offered', 'cancelled'),
    ('downloading', 'installing'), ('downloading', 'awaiting_confirmation'),
    ('downloading', 'claimed'), ('downloading', 'failed'), ('downloading', 'rolled_back'),
    ('downloading', 'cancelled'),
    ('installing', 'awaiting_confirmation'), ('installing', 'claimed'), ('installing', 'failed'),
    ('installing', 'rolled_back'), ('installing', 'cancelled'),
    ('awaiting_confirmation', 'claimed'), ('awaiting_confirmation', 'failed'),
    ('awaiting_confirmation', 'rolled_back'), ('awaiting_confirmation', 'cancelled'),
    ('claimed', 'verified'), ('claimed', 'failed'), ('claimed', 'rolled_back')
"""

LIFE = f"""
CREATE FUNCTION releases_deviceupdate_life() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.status <> old.status AND (old.status, new.status) NOT IN ({ALLOWED}) THEN
        RAISE EXCEPTION 'An update cannot go from % to %.', old.status, new.status
              USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END $$;
CREATE TRIGGER releases_deviceupdate_life BEFORE UPDATE ON releases_deviceupdate
   FOR EACH ROW WHEN (new.status <> old.status) EXECUTE FUNCTION releases_deviceupdate_life();
"""

# The trail, and the wake-up of the device's stream: "<device> update", sent on commit.
TRAIL = """
CREATE FUNCTION releases_deviceupdate_trail() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE before text := '';
BEGIN
    IF tg_op = 'UPDATE' THEN
        before := old.status;
    END IF;
    IF tg_op = 'INSERT' OR new.status <> old.status OR new.step <> old.step THEN
        INSERT INTO releases_updateevent (
               organization_id, update_id, at, from_status, to_status, step, detail)
        VALUES (new.organization_id, new.id, clock_timestamp(), before, new.status, new.step,
                left(new.error, 255));
    END IF;
    IF tg_op = 'INSERT' OR new.is_paused <> old.is_paused
       OR new.status IN ('scheduled', 'cancelled') AND new.status <> old.status THEN
        PERFORM pg_notify('fleet_commands', new.device_id::text || ' update');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER releases_deviceupdate_trail_begun AFTER INSERT ON releases_deviceupdate
   FOR EACH ROW EXECUTE FUNCTION releases_deviceupdate_trail();
CREATE TRIGGER releases_deviceupdate_trail AFTER UPDATE ON releases_deviceupdate
   FOR EACH ROW
  WHEN (new.status <> old.status OR new.step <> old.step OR new.is_paused <> old.is_paused)
EXECUTE FUNCTION releases_deviceupdate_trail();

-- Progress is written often: room in the page keeps those updates heap-only.
ALTER TABLE releases_deviceupdate SET (fillfactor = 80);
"""

UNDO = """
DROP TRIGGER releases_release_kept ON releases_release;
DROP TRIGGER releases_artifact_kept ON releases_artifact;
DROP TRIGGER releases_trustmetadata_kept ON releases_trustmetadata;
DROP TRIGGER releases_trusttarget_kept ON releases_trusttarget;
DROP TRIGGER releases_deviceupdate_life ON releases_deviceupdate;
DROP TRIGGER releases_deviceupdate_trail_begun ON releases_deviceupdate;
DROP TRIGGER releases_deviceupdate_trail ON releases_deviceupdate;
DROP FUNCTION releases_release_kept(); DROP FUNCTION releases_artifact_kept();
DROP FUNCTION releases_trust_kept(); DROP FUNCTION releases_deviceupdate_life();
DROP FUNCTION releases_deviceupdate_trail();
"""


class Migration(migrations.Migration):
    dependencies = [("releases", "0001_initial"), ("devices", "0002_guards")]
    operations = [
        tenant_key("releases_release"),
        tenant_key("releases_artifact"),
        tenant_key("releases_rollout"),
        tenant_key("releases_deviceupdate"),
        same_tenant("releases_artifact", "release_id", "releases_release", on_delete="CASCADE"),
        same_tenant("releases_rollout", "release_id", "releases_release"),
        same_tenant("releases_rolloutstage", "rollout_id", "releases_rollout", on_delete="CASCADE"),
        same_tenant(
            "releases_rollouttarget", "rollout_id", "releases_rollout", on_delete="CASCADE"
        ),
        same_tenant("releases_rollouttarget", "device_id", "devices_device", on_delete="CASCADE"),
        same_tenant("releases_rollouttarget", "update_id", "releases_deviceupdate"),
        same_tenant("releases_rolloutevent", "rollout_id", "releases_rollout", on_delete="CASCADE"),
        same_tenant("releases_deviceupdate", "device_id", "devices_device", on_delete="CASCADE"),
        same_tenant("releases_deviceupdate", "release_id", "releases_release"),
        same_tenant("releases_deviceupdate", "artifact_id", "releases_artifact"),
        same_tenant("releases_deviceupdate", "rollout_id", "releases_rollout"),
        same_tenant(
            "releases_updateevent", "update_id", "releases_deviceupdate", on_delete="CASCADE"
        ),
        same_tenant("releases_healthpair", "rollout_id", "releases_rollout", on_delete="CASCADE"),
        same_tenant(
            "releases_healthpair", "update_id", "releases_deviceupdate", on_delete="CASCADE"
        ),
        same_tenant("releases_healthpair", "control_id", "devices_device", on_delete="CASCADE"),
        same_tenant("releases_chaosorder", "device_id", "devices_device", on_delete="CASCADE"),
        same_tenant("releases_trusttarget", "release_id", "releases_release", on_delete="CASCADE"),
        same_tenant(
            "releases_trusttarget", "artifact_id", "releases_artifact", on_delete="CASCADE"
        ),
        migrations.RunSQL(RELEASE + LIFE + TRAIL, UNDO),
    ]
