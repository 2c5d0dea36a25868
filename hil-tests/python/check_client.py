"""Checks the Python client against a site whose addresses are in the environment; says `ok` at its end."""

import itertools
import os
import time

import grpc
from ecovisor.v1 import quantities_pb2 as quantities

from ecovisor_client import EnergySystem, Operator, tls_channel, unix_channel


def refused(call, code):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error
    raise AssertionError(f"{code} was expected")


def check(system):
    state = system.state()
    assert (state.app, state.site, state.tick_span_ms) == ("web", "noon", 60_000), state
    assert state.clock.kind == quantities.CLOCK_KIND_SCALED and state.clock.factor == 600, state.clock

    ticks = list(itertools.islice(system.ticks(), 4))
    numbers = [tick.tick for tick in ticks]
    assert numbers == list(range(numbers[0], numbers[0] + 4)), numbers
    for tick in ticks:
        flows = tick.flows
        sources = (flows.solar_to_load_uj + flows.received_to_load_uj + flows.battery_to_load_uj + flows.forced_to_load_uj
                   + flows.grid_to_load_uj + flows.overdraft_grid_uj + flows.overdraft_from_spill_uj
                   + flows.overdraft_lent_uj)
        assert flows.load_uj == sources, flows

    reply = system.set_battery_charge_rate(20_000, lease_ms=600_000)
    assert reply.HasField("lease_ends_ms"), reply
    refused(lambda: system.set_battery_charge_rate(10**9), grpc.StatusCode.FAILED_PRECONDITION)
    refused(lambda: system.set_battery_charge_rate(1, lease_ms=0), grpc.StatusCode.INVALID_ARGUMENT)
    refused(lambda: system.set_container_power_cap("none", 1), grpc.StatusCode.NOT_FOUND)

    system.set_container_power_cap("one", 7_000)
    (container,) = system.containers()
    assert container.cap_mw == 7_000, container
    system.set_container_power_cap("one", None)
    assert not system.containers()[0].HasField("cap_mw")

    (bucket,) = system.usage(by_container=True)
    by_source = bucket.solar_uj + bucket.battery_uj + bucket.grid_uj + bucket.received_uj + bucket.overdraft_uj
    assert bucket.load_uj == by_source == bucket.containers[0].energy_uj, bucket

    forecast = system.forecast(horizon_ms=6 * 3_600_000, step_ms=3_600_000)
    assert len(forecast.solar_mw.steps) == 6 and forecast.step_ms == 3_600_000, forecast
    assert all(step.p10 <= step.p50 <= step.p90 for step in forecast.carbon_mg_per_kwh.steps), forecast


def check_session(system):
    """A lease of 0.9 s outlives itself only by being renewed, and its default is back after the session."""
    with system.session(lease_ms=900) as session:
        holds_from = session.set_battery_max_discharge(9_000).holds_from_tick
        next(tick for tick in system.ticks() if tick.coming.tick >= holds_from)
        ends = set()
        began = time.monotonic()
        while time.monotonic() - began < 2:
            setting = system.state().settings.battery_max_discharge
            assert setting.power_mw == 9_000, setting
            ends.add(setting.lease_ends_ms)
        assert len(ends) > 2, "it was not renewed"
        assert not session.dropped
    for _ in itertools.islice(system.ticks(), 2):
        pass
    assert system.state().settings.battery_max_discharge.is_default


app_socket, operator_socket = os.environ["ECOVISOR_SOCKET"], os.environ["ECOVISOR_OPERATOR_SOCKET"]
for channel in (
    unix_channel(app_socket),
    tls_channel(*(os.environ[f"ECOVISOR_{name}"] for name in ("ADDRESS", "CA", "CERT", "KEY"))),
):
    with channel:
        check(EnergySystem(channel))
        check_session(EnergySystem(channel))
        refused(Operator(channel).apps, grpc.StatusCode.PERMISSION_DENIED)

with unix_channel(operator_socket) as channel:
    assert [app.name for app in Operator(channel).apps()] == ["web", "batch", "house"]
    assert Operator(channel).site().name == "noon"

# Without the authority the daemon refuses what gRPC's C core sends for a Unix socket: the trap that the client avoids.
with grpc.insecure_channel(f"unix:{app_socket}") as channel:
    trapped = refused(EnergySystem(channel).state, grpc.StatusCode.INTERNAL)
    assert "RST_STREAM" in trapped.details(), trapped

print("ok")
