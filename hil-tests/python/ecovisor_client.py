"""A client of the ecovisor in Python, with the duties of the Rust SDK: typed calls, streams, and a session whose
settings are leases that it renews for as long as it lives. It needs grpcio and the stubs made from proto/ (docs/python.md).

Powers are mW, energies uJ, times ms, as on the wire.
"""

import threading

import grpc
from ecovisor.v1 import energy_pb2 as pb
from ecovisor.v1 import operator_pb2 as operator_pb
from ecovisor.v1 import quantities_pb2 as quantities
from ecovisor.v1.energy_pb2_grpc import EnergyServiceStub
from ecovisor.v1.operator_pb2_grpc import OperatorServiceStub

# gRPC's C core sends the socket's path as :authority, which HTTP/2 does not allow and the daemon refuses.
AUTHORITY = ("grpc.default_authority", "localhost")

# A renewal may fail twice before the lease ends.
RENEWALS_PER_LEASE = 3


def unix_channel(socket):
    """A channel over a Unix socket; who connects is known by its credentials."""
    return grpc.insecure_channel(f"unix:{socket}", options=[AUTHORITY])


def tls_channel(address, ca, cert, key):
    """A channel over TLS; who connects is known by its certificate. The arguments name PEM files."""

    def pem(path):
        with open(path, "rb") as file:
            return file.read()

    credentials = grpc.ssl_channel_credentials(pem(ca), pem(key), pem(cert))
    return grpc.secure_channel(address, credentials)


class EnergySystem:
    """An app's virtual energy system. Settings made here hold until changed unless a lease is given."""

    def __init__(self, channel):
        self.service = EnergyServiceStub(channel)

    def state(self):
        """All there is to know now."""
        return self.service.GetEnergySystem(pb.GetEnergySystemRequest())

    def ticks(self):
        """The settled ticks from the next one on; `missed` counts what a slow reader lost."""
        return self.service.WatchTicks(pb.WatchTicksRequest())

    def events(self, **thresholds):
        """What happens to the app from now on."""
        return self.service.WatchEvents(pb.WatchEventsRequest(**thresholds))

    def set_battery_charge_rate(self, rate_mw, lease_ms=None):
        """The power at which the battery is charged until full; None brings the default back."""
        return self.service.SetBatteryChargeRate(pb.SetBatteryChargeRateRequest(rate_mw=rate_mw, lease_ms=lease_ms))

    def set_battery_max_discharge(self, max_mw, lease_ms=None):
        """The most that the battery gives to the load; None brings the default back."""
        return self.service.SetBatteryMaxDischarge(pb.SetBatteryMaxDischargeRequest(max_mw=max_mw, lease_ms=lease_ms))

    def set_container_power_cap(self, container, cap_mw, lease_ms=None):
        """The most that a container draws; None lifts the cap."""
        request = pb.SetContainerPowerCapRequest(container=container, cap_mw=cap_mw, lease_ms=lease_ms)
        return self.service.SetContainerPowerCap(request)

    def set_carbon_rate(self, rate_mg_per_h, lease_ms=None):
        """The most carbon of grid power per hour; None brings the default back."""
        return self.service.SetCarbonRate(pb.SetCarbonRateRequest(rate_mg_per_h=rate_mg_per_h, lease_ms=lease_ms))

    def containers(self):
        """The app's containers, in the order in which they were attached."""
        return list(self.service.ListContainers(pb.ListContainersRequest()).containers)

    def attach_pid(self, name, pid):
        """Makes a process of the caller's user, with its children, a container."""
        target = quantities.ContainerTarget(pid=pid)
        return self.service.AttachContainer(pb.AttachContainerRequest(name=name, target=target)).container

    def detach(self, name):
        """Ends a container; what is behind it runs on."""
        return self.service.DetachContainer(pb.DetachContainerRequest(name=name)).holds_from_tick

    def usage(self, t1_ms=0, t2_ms=None, step_ms=0, by_container=False):
        """Energy and carbon over a period, in buckets of a step, or in one."""
        request = pb.QueryUsageRequest(t1_ms=t1_ms, t2_ms=t2_ms, step_ms=step_ms, by_container=by_container)
        return list(self.service.QueryUsage(request).buckets)

    def forecast(self, horizon_ms=0, step_ms=0):
        """Advice on what is to come."""
        return self.service.GetForecast(pb.GetForecastRequest(horizon_ms=horizon_ms, step_ms=step_ms))

    def session(self, lease_ms=30_000):
        """A session: `with system.session() as session`."""
        return Session(self, lease_ms)


class Session:
    """Settings that end when the app does: each is a lease, renewed every third of it. A setting that the daemon
    refuses to renew is dropped and told in `dropped`; while the daemon is away, renewal is tried again."""

    def __init__(self, system, lease_ms):
        self.system = system
        self.lease_ms = lease_ms
        self.dropped = []
        self._wanted = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        # On a scaled clock the site's time runs faster than that in which leases are renewed.
        clock = system.state().clock
        self._site_lease_ms = lease_ms * max(clock.factor, 1)
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self):
        self._renewing.start()
        return self

    def __exit__(self, *_):
        """Stops renewing and brings every default back."""
        self._ended.set()
        self._renewing.join()
        for setter in self._wanted:
            self._call(setter, None, None)

    def set_battery_charge_rate(self, rate_mw):
        return self._set(("battery_charge_rate",), rate_mw)

    def set_battery_max_discharge(self, max_mw):
        return self._set(("battery_max_discharge",), max_mw)

    def set_carbon_rate(self, rate_mg_per_h):
        return self._set(("carbon_rate",), rate_mg_per_h)

    def set_container_power_cap(self, container, cap_mw):
        return self._set(("container_power_cap", container), cap_mw)

    def _set(self, setter, figure):
        with self._lock:
            reply = self._call(setter, figure, self._site_lease_ms)
            self._wanted[setter] = figure
            return reply

    def _call(self, setter, figure, lease_ms):
        name, *container = setter
        return getattr(self.system, f"set_{name}")(*container, figure, lease_ms=lease_ms)

    def _renew(self):
        while not self._ended.wait(self.lease_ms / RENEWALS_PER_LEASE / 1000):
            with self._lock:
                for setter, figure in list(self._wanted.items()):
                    try:
                        self._call(setter, figure, self._site_lease_ms)
                    except grpc.RpcError as error:
                        if error.code() != grpc.StatusCode.UNAVAILABLE:
                            del self._wanted[setter]
                            self.dropped.append((setter, error))


class Operator:
    """What the owner of the site sees."""

    def __init__(self, channel):
        self.service = OperatorServiceStub(channel)

    def apps(self):
        """All apps in the order of creation, `house` last."""
        return list(self.service.ListApps(operator_pb.ListAppsRequest()).apps)

    def site(self):
        """The site as it stands."""
        return self.service.GetSite(operator_pb.GetSiteRequest())
