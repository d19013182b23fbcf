from accounts.policy import DEVICE, POLICY, Action, Role, is_allowed


def test_every_action_is_in_the_table():
    assert set(POLICY) == set(Action)


def test_what_is_not_in_the_table_is_allowed_to_nobody():
    assert not is_allowed(None, Action.DEVICE_READ)
    assert not is_allowed("owner", Action.DEVICE_READ)


def test_a_viewer_changes_nothing():
    granted = {action for action in Action if is_allowed(Role.VIEWER, action)}

    assert granted == {
        Action.ORGANIZATION_READ,
        Action.DEVICE_READ,
        Action.GROUP_READ,
        Action.COMMAND_READ,
        Action.COMMAND_INSPECT,
        Action.SCRIPT_READ,
        Action.TEMPLATE_READ,
        Action.RELEASE_READ,
        Action.ROLLOUT_READ,
        Action.ELIGIBILITY_READ,
        Action.ARTIFACT_READ,
        Action.TRUST_READ,
        Action.UPDATE_READ,
        Action.DRIFT_READ,
        Action.RECOVERY_READ,
        Action.CALENDAR_READ,
        Action.SYSTEM_READ,
    }


def test_an_operator_may_do_all_a_viewer_may_and_an_admin_all_an_operator_may():
    of = {role: {a for a in Action if is_allowed(role, a)} for role in Role}

    assert of[Role.VIEWER] < of[Role.OPERATOR] < of[Role.ADMIN]


def test_a_device_reads_its_own_affairs_and_nothing_of_people():
    granted = {action.value.split(".")[0] for action in Action if is_allowed(DEVICE, action)}

    assert granted == {
        *("device", "heartbeat", "command", "eligibility", "artifact", "trust", "update"),
        *("drift", "recovery"),
    }
