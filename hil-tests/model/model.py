"""The rules of the books as an executable model: one tick, unlimited integers, no floats.

Written from the page of rules alone, to be an oracle beside the Rust `core`. The marks [R1], [R2] ... name the readings that
MODEL.md lists. Sections follow the order of the page. Energy in uJ, power in mW, time in ms, carbon in uJ x mg/kWh.

    python3 model.py < ticks.jsonl > books.jsonl
"""

import json
import sys

MILLION = 1_000_000

FLOWS = (
    "load solar_in solar_to_load solar_to_lenders solar_to_battery spilled given exported curtailed kept spill_to_overdraft "
    "received received_to_load received_to_lenders received_to_battery battery_to_load forced_to_load "
    "grid_to_load grid_to_lenders grid_to_battery overdraft_grid overdraft_from_spill overdraft_lent lent repaid_in "
    "charge_loss discharge_loss adjusted_down debt_incurred debt_repaid carbon carbon_credit"
).split()


# ---------------------------------------------------------------------------------------------------------------------
# Quantities


def ceil_div(a, b):
    return -(-a // b)


def split(total, weights):
    """Rounds boundaries down, not parts: the parts sum to the whole. [R1]"""
    whole, reached, before, parts = sum(weights), 0, 0, []
    assert whole > 0 or total == 0, "nobody to split among"
    for weight in weights:
        reached += weight
        boundary = total * reached // whole if whole else 0
        parts.append(boundary - before)
        before = boundary
    return parts


def fill(pool, needs, weights):
    """By weight, whole needs first; the part in the rounds is the exact fraction. [R10]"""
    got = [0] * len(needs)
    waiting = [i for i, need in enumerate(needs) if need and weights[i]]
    while waiting:
        whole = sum(weights[i] for i in waiting)
        small = [i for i in waiting if needs[i] * whole <= pool * weights[i]]
        if not small:
            for i, part in zip(waiting, split(pool, [weights[i] for i in waiting])):
                got[i] = part
            break
        for i in small:
            got[i] = needs[i]
            pool -= needs[i]
        waiting = [i for i in waiting if i not in small]
    return got


def share_solar(total, apps):
    """By solar weight; all to house (last) where nobody has one."""
    weights = [app["solar_weight"] for app in apps]
    return split(total, weights) if any(weights) else [0] * (len(apps) - 1) + [total]


class Battery:
    """One virtual battery during one tick. Loss is taken on the sums of the tick, so a single flow counts inside by what it
    adds to the rounded sum. [R2] `claim` is signed: below zero (house only) it is the deficit. [R3]"""

    def __init__(self, site, app, claim, span):
        self.charge, self.discharge = site["charge_ppm"], site["discharge_ppm"]
        self.capacity, self.floor = app["capacity_uj"], app["floor_uj"]
        self.limit = app["charge_limit_mw"] * span
        self.claim, self.came_in, self.went_out = claim, 0, 0

    def grown(self, ahead=0):
        """What came in, and `ahead` that will, inside."""
        return (self.came_in + ahead) * self.charge // MILLION

    def shrunk(self):
        return ceil_div(self.went_out * MILLION, self.discharge)

    def level(self):
        return self.claim + self.grown() - self.shrunk()

    def full(self):
        return self.level() >= self.capacity

    def takes_to_grow(self, inside, ahead=0):
        """The least further input at the terminals that adds `inside` after `ahead`."""
        return max(0, ceil_div((self.grown(ahead) + inside) * MILLION, self.charge) - self.came_in - ahead)

    def accepts(self):
        room = max(0, self.capacity - self.level())  # the room there is now, also after what went out this tick [R4]
        return min(self.takes_to_grow(room), max(0, self.limit - self.came_in))

    def delivers(self):
        above = max(0, self.claim + self.grown() - self.floor)  # what came in this tick may go out again [R4]
        return max(0, above * self.discharge // MILLION - self.went_out)

    def put(self, energy):
        assert 0 <= energy <= self.accepts(), "above capacity or charge limit"
        self.came_in += energy

    def take(self, energy, credit=False):
        assert energy >= 0 and (credit or energy <= self.delivers()), "below the floor"
        before = self.shrunk()
        self.went_out += energy
        return self.shrunk() - before


# ---------------------------------------------------------------------------------------------------------------------
# Settlement


class Tick:
    def __init__(self, site, state, inputs):
        self.site, self.inputs = site, inputs
        self.apps = [dict(app) for app in state["apps"]]
        self.all, self.house = range(len(self.apps)), len(self.apps) - 1
        self.span, self.grid = inputs["span_ms"], not inputs["islanded"]
        self.buffered = site["solar"] == "buffered"
        self.meter = {name: inputs["metered"].get(name) for name in
                      ("solar", "grid_import", "grid_export", "battery_in", "battery_out", "load", "level")}
        self.flows = [dict.fromkeys(FLOWS, 0) for _ in self.apps]
        self.books = {}
        house = self.apps[-1]
        assert not (house["stored_uj"] and state["deficit_uj"]), "a claim is above or below zero"
        self.before = [app["stored_uj"] for app in self.apps]
        self.before[-1] -= state["deficit_uj"]
        self.debts_before = sum(app["debt_uj"] for app in self.apps)
        assert self.debts_before == sum(app["loan_uj"] for app in self.apps), "debts and loans differ"
        self.battery = [Battery(site, app, claim, self.span) for app, claim in zip(self.apps, self.before)]

    def total(self, *names):
        return sum(flow[name] for flow in self.flows for name in names)

    def run(self):
        self.gather()
        self.pass_1()
        self.between()
        self.pass_2()
        self.close_spill()
        self.meet_the_meters()
        self.carbon()
        self.check()
        house = self.apps[-1]
        state = {"apps": self.apps, "deficit_uj": max(0, -self.claim)}
        house["stored_uj"] = max(0, self.claim)
        return state, self.flows, self.books

    # Inputs per app -------------------------------------------------------------------------------------------------

    def gather(self):
        loads = list(self.inputs["loads_uj"])
        metered = sum(loads) if self.meter["load"] is None else self.meter["load"]
        self.books["unmetered_load"] = max(0, metered - sum(loads))
        self.books["overbooked_load"] = max(0, sum(loads) - metered)
        loads[-1] += self.books["unmetered_load"]
        if self.buffered:
            solar = [app["buffered_uj"] for app in self.apps]
        else:
            solar = share_solar(self.inputs["solar_uj"], self.apps)
        for flow, load, sun in zip(self.flows, loads, solar):
            flow["load"], flow["solar_in"] = load, sun
        self.open = loads  # load not yet served
        for flow, app in zip(self.flows, self.apps):  # owed to and by the same pool: both cancel [R6]
            both = min(app["debt_uj"], app["loan_uj"])
            flow["debt_repaid"] = both
            app["debt_uj"] -= both
            app["loan_uj"] -= both

    def serve(self, i, name, energy):
        assert 0 <= energy <= self.open[i]
        self.flows[i][name] += energy
        self.open[i] -= energy

    # Repayment ------------------------------------------------------------------------------------------------------

    def enter(self, source, amounts):
        """What is about to enter batteries: that of debtors goes to lenders first, of all debtors to all lenders at once.
        Each lender keeps room for its own, which counts as if it came first. [R5] Answers what found no place."""
        own = [min(amount, battery.accepts()) for amount, battery in zip(amounts, self.battery)]
        paid, rest = self.repay(source, amounts, own), []
        for flow, battery, amount, away in zip(self.flows, self.battery, amounts, paid):
            stays = min(amount - away, battery.accepts())
            battery.put(stays)
            flow[source + "_to_battery"] += stays
            rest.append(amount - away - stays)
        return rest

    def repay(self, source, amounts, own):
        """All that debtors offer at the terminals, by what each lender is owed; what a lender cannot take goes to those that
        can. [R7]"""
        offered = [min(amount, ceil_div(app["debt_uj"] * MILLION, self.site["charge_ppm"]))
                   for amount, app in zip(amounts, self.apps)]
        owed = [app["loan_uj"] for app in self.apps]
        needs = [min(max(0, battery.accepts() - mine), battery.takes_to_grow(loan, mine))
                 for battery, mine, loan in zip(self.battery, own, owed)]
        taken = arrived = 0
        for j, part in enumerate(fill(sum(offered), needs, owed)):
            battery, lender = self.battery[j], self.apps[j]
            inside = battery.grown(own[j] + part) - battery.grown(own[j])
            battery.put(part)
            self.flows[j]["repaid_in"] += part
            lender["loan_uj"] -= inside
            taken, arrived = taken + part, arrived + inside
        paid = split(taken, offered)
        for flow, part in zip(self.flows, paid):
            flow[source + "_to_lenders"] += part
        self.reduce_debts(split(arrived, paid))
        return paid

    def reduce_debts(self, parts):
        """Where rounding gives a debtor more than it owes, the next in order has it."""
        carried = 0
        for part, app, flow in zip(parts + [0] * len(parts), self.apps * 2, self.flows * 2):
            reduced = min(carried + part, app["debt_uj"])
            carried += part - reduced
            app["debt_uj"] -= reduced
            flow["debt_repaid"] += reduced
        assert carried == 0, "debts are as large as loans"

    # Pass 1 ---------------------------------------------------------------------------------------------------------

    def pass_1(self):
        left = []
        for i in self.all:
            sun = self.flows[i]["solar_in"]
            self.serve(i, "solar_to_load", min(sun, self.open[i]))
            left.append(sun - self.flows[i]["solar_to_load"])
        # Lenders take from all the solar left, the debtor's own limits notwithstanding. [R8]
        self.spill = self.enter("solar", left)
        for flow, spilled in zip(self.flows, self.spill):
            flow["spilled"] = spilled

    # Between --------------------------------------------------------------------------------------------------------

    def between(self):
        if self.site["redistribute"]:
            pool, weights = sum(self.spill), [app["solar_weight"] for app in self.apps]
            to_load = fill(pool, self.open, weights)
            to_battery = fill(pool - sum(to_load), [battery.accepts() for battery in self.battery], weights)
            for i in self.all:
                self.flows[i]["received"] = to_load[i] + to_battery[i]
                self.serve(i, "received_to_load", to_load[i])
            rest = self.enter("received", to_battery)
            assert not any(rest)
            self.fall_on_givers("given", sum(to_load) + sum(to_battery))
        if self.site["export"] and self.grid:  # an islanded site may not feed in [R9]
            self.fall_on_givers("exported", sum(self.spill))

    def fall_on_givers(self, name, energy):
        """Pro rata to what is left of the spill, so that the parts of a giver sum to its spill. [R11]"""
        for i, part in enumerate(split(energy, self.spill)):
            self.flows[i][name] += part
            self.spill[i] -= part

    # Pass 2 ---------------------------------------------------------------------------------------------------------

    def pass_2(self):
        # Islanded, every grid limit is zero. [R12]
        limit = [app["grid_limit_mw"] * self.span if self.grid else 0 for app in self.apps]
        for i, app in enumerate(self.apps):  # 4 and 5
            battery = self.battery[i]
            if battery.full():
                app["charge_rate_mw"] = 0
            # An asked-for charge yields only what the grid limit leaves open. [R13]
            wanted = self.open[i] if app["charge_rate_mw"] == 0 else max(0, self.open[i] - limit[i])
            power = min(app["max_discharge_mw"], app["discharge_limit_mw"])
            given = min(wanted, power * self.span, battery.delivers())
            battery.take(given)
            self.serve(i, "battery_to_load", given)
            self.serve(i, "grid_to_load", min(self.open[i], limit[i]))
        if self.grid:  # 6
            for i in self.all:
                self.serve(i, "overdraft_grid", self.open[i])
        else:
            self.overdraft_islanded()
        if self.grid:  # 7
            rest = self.enter("grid", [self.wanted_from_grid(i, limit[i]) for i in self.all])
            assert not any(rest)
        for app, battery in zip(self.apps, self.battery):
            if battery.full():  # by flows; what corrections fill ends at the next step 4 [R14]
                app["charge_rate_mw"] = 0

    def wanted_from_grid(self, i, limit):
        app, battery, flow = self.apps[i], self.battery[i], self.flows[i]
        drawn = flow["grid_to_load"] + flow["overdraft_grid"]
        left = max(0, limit - drawn)
        intensity = self.inputs["intensity_mg_per_kwh"]
        if app["carbon_rate_mg_per_h"] is not None and intensity:  # rounded down as a power [R15]
            most = app["carbon_rate_mg_per_h"] * MILLION // intensity * self.span
            left = min(left, max(0, most - drawn))
        asked = max(0, app["charge_rate_mw"] * self.span - battery.came_in)  # repayments that came in count [R16]
        return min(asked, battery.accepts(), left)  # its own limits bound what goes to lenders too [R8]

    def overdraft_islanded(self):
        for i in self.all:  # own battery: no power limit, only the floor [R17]
            forced = min(self.open[i], self.battery[i].delivers())
            self.battery[i].take(forced)
            self.serve(i, "forced_to_load", forced)
        if not self.buffered:  # what will be kept is not about to be curtailed [R18]
            energy = min(sum(self.open), sum(self.spill))
            for i, part in enumerate(split(energy, self.open)):
                self.serve(i, "overdraft_from_spill", part)
            self.fall_on_givers("spill_to_overdraft", energy)
        can = [battery.delivers() for battery in self.battery]
        self.lend(can[-1], [0] * self.house + [can[-1]])
        self.lend(sum(can[:-1]), can[:-1] + [0])
        self.lend_on_credit()

    def lend(self, most, lenders):
        """One rank of lenders serves all open loads pro rata; the debt is what left the stores, split likewise. [R19]"""
        energy = min(most, sum(self.open))
        served = split(energy, self.open)
        parts = split(energy, lenders)
        self.owe(served, [battery.take(part) for battery, part in zip(self.battery, parts)])
        for flow, part in zip(self.flows, parts):
            flow["lent"] += part

    def lend_on_credit(self):
        """House serves the others' loads, then its own: that is lent, and nobody's debt. [R20]"""
        own, house = self.open[-1], self.battery[-1]
        served = self.open[:-1] + [0]
        self.owe(served, [0] * self.house + [house.take(sum(served), credit=True)])
        house.take(own, credit=True)
        self.serve(self.house, "overdraft_lent", own)
        self.flows[-1]["lent"] += sum(served) + own

    def owe(self, served, left):
        debts = split(sum(left), served)
        for i in self.all:
            self.serve(i, "overdraft_lent", served[i])
            self.flows[i]["debt_incurred"] += debts[i]
            self.apps[i]["debt_uj"] += debts[i]
            self.apps[i]["loan_uj"] += left[i]

    def close_spill(self):
        if self.buffered:
            name = "kept"
        elif self.site["curtailable"]:
            name = "curtailed"
        else:
            name = "exported"  # islanded too [R9]
        self.fall_on_givers(name, sum(self.spill))

    # The books must meet the meters ----------------------------------------------------------------------------------

    def meet_the_meters(self):
        site, books = self.site, self.books
        for flow, battery in zip(self.flows, self.battery):
            flow["charge_loss"] = battery.came_in - battery.grown()
            flow["discharge_loss"] = battery.shrunk() - battery.went_out

        if self.buffered:
            solar = self.inputs["solar_uj"]
            buffer_in, buffer_out = solar, self.total("solar_in") - self.total("kept")  # one more battery, lossless [R21]
        else:
            solar = self.total("solar_in") - self.total("curtailed")
            buffer_in = buffer_out = 0
        imported = self.total("grid_to_load", "grid_to_lenders", "grid_to_battery", "overdraft_grid")
        exported = self.total("exported")
        came_in = sum(battery.came_in for battery in self.battery) + buffer_in
        went_out = sum(battery.went_out for battery in self.battery) + buffer_out
        grid_netting, battery_netting = min(imported, exported), min(came_in, went_out)
        books["grid_netting"] = grid_netting
        self.sums = {"solar": solar, "grid_import": imported - grid_netting, "grid_export": exported - grid_netting,
                     "battery_in": came_in - battery_netting, "battery_out": went_out - battery_netting}
        for name, booked in self.sums.items():
            metered = booked if self.meter[name] is None else self.meter[name]
            books[name] = {"booked": booked, "over": max(0, metered - booked), "short": max(0, booked - metered)}

        # What the ordered sum does to the real battery, against what the claims and the buffer say. [R22]
        real = (self.sums["battery_in"] * site["charge_ppm"] // MILLION
                - ceil_div(self.sums["battery_out"] * MILLION, site["discharge_ppm"]))
        said = sum(battery.grown() - battery.shrunk() for battery in self.battery) + buffer_in - buffer_out
        books["netting_gain"], books["conversion_loss"] = max(0, real - said), max(0, said - real)

        for app, battery in zip(self.apps[:-1], self.battery):
            app["stored_uj"] = battery.level()
        buffer = self.total("kept") + solar if self.buffered else 0
        claim = self.battery[-1].level() + real - said
        booked = sum(app["stored_uj"] for app in self.apps[:-1]) + buffer + claim
        level = booked if self.meter["level"] is None else self.meter["level"]  # the real level holds the buffer too [R23]
        books["drift_up"], books["drift_down"] = max(0, level - booked), max(0, booked - level)
        claim += level - booked

        books["freed"] = 0
        if -claim > site["tolerance_uj"]:
            holders = [app["stored_uj"] for app in self.apps[:-1]] + [buffer]  # to zero if need be, buffer last [R24]
            books["freed"] = min(-claim, sum(holders))
            *shrinks, from_buffer = split(books["freed"], holders)
            for app, flow, shrink in zip(self.apps, self.flows, shrinks):
                flow["adjusted_down"] = shrink
                app["stored_uj"] -= shrink
            buffer -= from_buffer
            claim += books["freed"]
        self.claim, books["deficit"], books["buffer"] = claim, max(0, -claim), buffer
        if self.buffered:
            for app, part in zip(self.apps, share_solar(buffer, self.apps)):  # shrunk first, then split [R24]
                app["buffered_uj"] = part

    # Carbon ---------------------------------------------------------------------------------------------------------

    def carbon(self):
        intensity, books = self.inputs["intensity_mg_per_kwh"], self.books
        for flow in self.flows:
            drawn = flow["grid_to_load"] + flow["grid_to_lenders"] + flow["grid_to_battery"] + flow["overdraft_grid"]
            flow["carbon"] = drawn * intensity
        self.flows[-1]["carbon"] += books["grid_import"]["over"] * intensity
        self.flows[-1]["carbon_credit"] = (books["grid_netting"] + books["grid_import"]["short"]) * intensity

    # Invariants -----------------------------------------------------------------------------------------------------

    def check(self):
        books, intensity = self.books, self.inputs["intensity_mg_per_kwh"]
        for i, (f, app, battery) in enumerate(zip(self.flows, self.apps, self.battery)):
            assert all(value >= 0 for value in f.values()), "a negative flow"
            assert f["solar_in"] == f["solar_to_load"] + f["solar_to_lenders"] + f["solar_to_battery"] + f["spilled"], "1"
            assert f["spilled"] == f["given"] + f["exported"] + f["curtailed"] + f["kept"] + f["spill_to_overdraft"], "1"
            assert f["received"] == f["received_to_load"] + f["received_to_lenders"] + f["received_to_battery"], "1"
            assert f["load"] == (f["solar_to_load"] + f["received_to_load"] + f["battery_to_load"] + f["forced_to_load"]
                                 + f["grid_to_load"] + f["overdraft_grid"] + f["overdraft_from_spill"]
                                 + f["overdraft_lent"]), "2"
            charged = f["solar_to_battery"] + f["received_to_battery"] + f["grid_to_battery"]
            used = f["battery_to_load"] + f["forced_to_load"]
            assert not (charged and used), "3: own flows charge and discharge"
            after = (self.before[i] + charged + f["repaid_in"] - f["charge_loss"] - used - f["lent"] - f["discharge_loss"]
                     - f["adjusted_down"])
            if i == self.house:
                after += (books["netting_gain"] - books["conversion_loss"] + books["drift_up"] - books["drift_down"]
                          + books["freed"])
            assert after == (self.claim if i == self.house else app["stored_uj"]), "3"
            assert i == self.house or app["stored_uj"] >= 0, "3"
            assert battery.level() <= max(self.before[i], app["capacity_uj"]), "3"
            assert i == self.house or battery.level() >= min(self.before[i], app["floor_uj"]), "3"
            assert app["debt_uj"] >= 0 and app["loan_uj"] >= 0, "2"
        debts = sum(app["debt_uj"] for app in self.apps)
        assert debts == sum(app["loan_uj"] for app in self.apps), "2"
        assert debts == self.debts_before + self.total("debt_incurred") - self.total("debt_repaid"), "2"
        assert self.total("lent") == self.total("overdraft_lent"), "2"
        assert self.total("repaid_in") == self.total("solar_to_lenders", "received_to_lenders", "grid_to_lenders"), "2"
        assert self.total("given") == self.total("received"), "4"
        assert self.total("spill_to_overdraft") == self.total("overdraft_from_spill"), "4"
        assert self.buffered or self.total("solar_in") == self.inputs["solar_uj"], "4"
        assert books["buffer"] == (sum(app["buffered_uj"] for app in self.apps) if self.buffered else 0), "4"
        for name in self.sums:
            entry = books[name]
            assert entry["booked"] >= 0 and not (entry["over"] and entry["short"]), "4"
            if self.meter[name] is not None:
                assert entry["booked"] + entry["over"] - entry["short"] == self.meter[name], "4"
        if self.meter["load"] is not None:
            assert self.total("load") - books["overbooked_load"] == self.meter["load"], "4"
        if self.meter["level"] is not None:
            stored = sum(app["stored_uj"] for app in self.apps[:-1]) + self.claim
            assert stored + books["buffer"] == self.meter["level"], "4"
        sums = self.sums
        assert (sums["solar"] + sums["grid_import"] + sums["battery_out"]
                == self.total("load") + sums["grid_export"] + sums["battery_in"]), "what is booked balances at the bus"
        entry = books["grid_import"]
        metered = entry["booked"] + entry["over"] - entry["short"]
        assert self.total("carbon") == (metered + books["grid_netting"] + entry["short"]) * intensity, "5"


def settle(site, state, inputs):
    """One tick: (state', flows per app, books). Nothing given is changed. (Invariant 6: a pure function.)"""
    return Tick(site, state, inputs).run()


def main():
    for line in sys.stdin:
        if line.strip():
            tick = json.loads(line)
            state, flows, books = settle(tick["site"], tick["state"], tick["inputs"])
            print(json.dumps({"state": state, "apps": flows, "site": books}), flush=True)


if __name__ == "__main__":
    main()
