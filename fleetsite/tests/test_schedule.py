from celery import current_app

from fleetsite.celery import app


def test_everything_beat_sends_is_a_task_that_takes_what_later_versions_may_add():
    app.loader.import_default_modules()

    for entry in app.conf.beat_schedule.values():
        task = current_app.tasks[entry["task"]]
        task.__header__(an_argument_of_a_later_version=1)


def test_the_settings_that_keep_tasks_from_getting_lost_are_in_force():
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.broker_transport_options["visibility_timeout"] == 600
    assert app.conf.result_backend_transport_options["visibility_timeout"] == 600
    assert (app.conf.task_soft_time_limit, app.conf.task_time_limit) == (240, 300)
    assert app.conf.task_ignore_result
    assert app.conf.broker_transport_options["socket_timeout"] == 5
