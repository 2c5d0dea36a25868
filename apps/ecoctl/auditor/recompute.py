#!/usr/bin/env python3
"""Recomputes a statement of the ecovisor from its page and its two tables alone: python3 recompute.py STATEMENT.html"""
import collections, csv, hashlib, json, pathlib, re, sys

LOAD = "solar_to_load received_to_load battery_to_load forced_to_load grid_to_load overdraft_grid overdraft_from_spill overdraft_lent"
WHOLES = {"solar_in": "solar_to_load solar_to_lenders solar_to_battery spilled", "load": LOAD,
          "spilled": "given exported curtailed kept spill_to_overdraft",
          "received": "received_to_load received_to_lenders received_to_battery"}
ENDS = [("received", "given"), ("lent", "overdraft_lent"), ("spill_to_overdraft", "overdraft_from_spill"),
        ("repaid_in", "solar_to_lenders received_to_lenders grid_to_lenders"),
        ("loan_granted", "debt_incurred"), ("loan_repaid", "debt_repaid"), ("loan", "debt")]
DRAWN = "grid_to_load grid_to_lenders grid_to_battery overdraft_grid"
IN, OUT = "solar_to_battery received_to_battery grid_to_battery repaid_in", "battery_to_load forced_to_load lent"
LOST = OUT + " charge_loss discharge_loss"
TOGETHER = {"load_from_solar": "solar_to_load received_to_load", "load_from_battery": "battery_to_load forced_to_load",
            "load_from_grid": "grid_to_load", "overdraft": "overdraft_grid overdraft_from_spill overdraft_lent",
            "battery_in": IN, "battery_out": OUT, "grid_drawn": DRAWN}
KWH_UJ, DAY_MS = 3_600_000_000_000, 86_400_000
UNITS = {"Wh": 3_600_000, "kWh": 3_600_000_000, "h": 3_600, "kg": 1_000, "%": 10, "g": 1, "g/kWh": 1}  # a thousandth of each
checks = collections.Counter()

def same(kind, where, left, right):
    checks[kind] += 1
    if left != right:
        sys.exit(f"DIFFERS: {where}: {left} stands there, {right} is due")

def add(row, names):
    return sum(row[name + "_uj"] for name in names.split())

def number(cell):
    return {"true": True, "false": False, "": None}[cell] if cell in ("true", "false", "") else int(cell)

def table(path):
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield {name: cell if name == "app" else number(cell) for name, cell in row.items()}

def check_tick(site, apps, before, past):
    at, everyone = f"tick {site['tick']}", lambda names: sum(add(row, names) for row in apps)
    for number, row in enumerate(apps):
        who, house = f"{at}, {row['app']}", number == len(apps) - 1
        same("rows that begin as the site's", who, *[[part[name] for name in ("tick", "wall_start_ms", "span_ms", "gap")] for part in (row, site)])
        for whole, parts in WHOLES.items():
            same("sums", f"{who}, {whole}_uj", row[whole + "_uj"], add(row, parts))
        due, credit = add(row, DRAWN) + house * site["grid_import_over_uj"], house * add(site, "grid_netting grid_import_short")
        same("carbon: drawn x intensity", f"{who}, carbon_product", row["carbon_product"], due * site["intensity_mg_per_kwh"])
        same("carbon: drawn x intensity", f"{who}, carbon_credit_product", row["carbon_credit_product"], credit * site["intensity_mg_per_kwh"])
        was = past.get(row["app_id"], collections.defaultdict(int))
        moved = lambda other, what: other[f"passed_{what}_uj"] - other[f"came_{what}_uj"]
        passed = lambda what: sum(moved(other, what) for other in apps) if house else -moved(row, what)
        if before:
            more = add(site, "netting_gain drift_up freed deficit") - add(site, "conversion_loss drift_down") - before["deficit_uj"] - everyone("came_claim")
            stored = was["stored_uj"] + add(row, IN) - add(row, LOST) + (more if house else row["came_claim_uj"] - row["adjusted_down_uj"])
            same("balances", f"{who}, stored_uj", row["stored_uj"], stored)
            same("balances", f"{who}, debt_uj", row["debt_uj"], was["debt_uj"] + row["debt_incurred_uj"] - row["debt_repaid_uj"] + passed("debt"))
            same("balances", f"{who}, loan_uj", row["loan_uj"], was["loan_uj"] + row["loan_granted_uj"] - row["loan_repaid_uj"] + passed("loan"))
    for gone in set(past) - {row["app_id"] for row in apps}:
        same("balances", f"{at}, what is left to the app that is gone", add(past[gone], "stored debt loan buffered"), 0)
    for left, right in ENDS:
        same("moves with two ends", f"{at}, {left}_uj of all", everyone(left), everyone(right))
    same("the site", f"{at}, tick", site["tick"], before["tick"] + 1 if before else site["tick"])
    same("the site", f"{at}, freed_uj", site["freed_uj"], everyone("adjusted_down") + site["buffer_adjusted_uj"])
    same("the site", f"{at}, buffer_uj", site["buffer_uj"], everyone("buffered"))
    same("the site", f"{at}, level_booked_uj", site["level_booked_uj"], max(0, everyone("stored") + site["buffer_uj"] - site["deficit_uj"]))
    for name, due in (("grid_import", everyone(DRAWN)), ("grid_export", everyone("exported"))):
        same("the site", f"{at}, {name}_booked_uj", add(site, f"{name}_booked grid_netting"), due)
    same("the site", f"{at}, load_booked_uj", site["load_booked_uj"], everyone("load"))
    for name in ("solar", "grid_import", "grid_export", "battery_in", "battery_out", "load", "level"):
        over, short = {"load": ("", "overbooked_load"), "level": ("", "")}.get(name, (f"{name}_over", f"{name}_short"))
        if site[f"metered_{name}_uj"] is not None:
            same("meters", f"{at}, metered_{name}_uj", site[f"metered_{name}_uj"] + add(site, short), add(site, f"{name}_booked {over}"))

def add_up(sums, row, site):
    for name, figure in row.items():
        if name not in ("tick", "wall_start_ms", "span_ms", "app_id", "app") and not name.startswith(("passed", "came")):
            sums[name] = figure if name in ("stored_uj", "debt_uj", "loan_uj") else sums[name] + figure
    for name, figure in (("ticks", 1), ("gap_ticks", row["gap"]), ("estimated_ticks", row["estimated"]), ("settled_ms", row["span_ms"]),
                         ("estimated_ms", row["estimated"] * row["span_ms"]), ("estimated_load_uj", row["estimated"] * row["load_uj"]),
                         ("intensity", site["intensity_mg_per_kwh"] * row["span_ms"])):
        sums[name] += figure
    if "stored_open_uj" not in sums:
        sums["stored_open_uj"] = max(0, row["stored_uj"] + add(row, LOST) + row["adjusted_down_uj"] - add(row, IN + " came_claim"))

def figures(sums):
    sums.update({f"{name}_uj": add(sums, parts) for name, parts in TOGETHER.items()})
    for name in ("estimated_load", "load_from_solar", "load_from_battery", "load_from_grid", "overdraft"):
        sums[f"{name}_ppm"] = sums[f"{name}_uj"] * 10**6 // sums["load_uj"] if sums["load_uj"] else 0
    sums["intensity_mean_mg_per_kwh"] = sums["intensity"] // sums["settled_ms"] if sums["settled_ms"] else 0
    sums["carbon_mg"], sums["carbon_credit_mg"] = sums["carbon_product"] // KWH_UJ, sums["carbon_credit_product"] // KWH_UJ
    return sums

def shown(figure, unit):
    thousandths = figure // UNITS[unit] if unit else figure * 1000
    return f"{thousandths // 1000:,}".replace(",", " ") + (f".{thousandths % 1000:03}" if unit else "")

def main(path):
    page = path.read_text(encoding="utf-8")
    said = json.loads(re.search(r'<script type="application/json" id="statement">(.*?)</script>', page, re.S)[1])
    same("versions", "ecovisor_statement", said["ecovisor_statement"], 1)
    files = {name: path.parent / entry["file"] for name, entry in said["tables"].items()}
    for name, file in files.items():
        same("hashes", f"SHA-256 of {file}", hashlib.sha256(file.read_bytes()).hexdigest(), said["tables"][name]["sha256"])
    apps, row, before, past, seen = table(files["apps"]), None, None, {}, []
    whole, days, buckets = (collections.defaultdict(lambda: collections.defaultdict(int)) for _ in range(3))
    row = next(apps, None)
    for site in table(files["site"]):
        rows = []
        while row and row["tick"] == site["tick"]:
            rows, row = rows + [row], next(apps, None)
        check_tick(site, rows, before, past)
        for mine in (other for other in rows if other["app"] == said["app"]):
            seen.append((mine["app_id"], site["tick"], mine["wall_start_ms"], mine["wall_start_ms"] + mine["span_ms"]))
            for stretches, length in ((whole, 10**20), (days, DAY_MS), (buckets, said["bucket_ms"])):
                add_up(stretches[mine["wall_start_ms"] // length * length], mine, site)
        before, past = site, {other["app_id"]: other for other in rows}
    same("rows", "apps of a tick that the site's table does not have", row, None)
    same("range", "app_ids", said["app_ids"], list(dict.fromkeys(entry[0] for entry in seen)))
    same("range", "ticks and times", [said[key] for key in ("first_tick", "end_tick", "from_ms", "to_ms")],
         [seen[0][1], seen[-1][1] + 1, seen[0][2], seen[-1][3]])
    groups = [("figures", [said["figures"]], [figures(whole[0])])]
    for name, mine in (("days", days), ("buckets", buckets)):
        same("range", f"start_ms of all {name}", [group.pop("start_ms") for group in said[name]], sorted(mine))
        groups.append((name, said[name], [figures(mine[start]) for start in sorted(mine)]))
    for name, theirs, mine in groups:
        for place, (group, due) in enumerate(zip(theirs, mine)):
            for key, figure in group.items():
                same("figures of the statement", f"{name}/{place}/{key}", int(figure), due.get(key))
    for where, unit, text in re.findall(r'data-figure="([^"]+)" data-unit="([^"]*)">([^<]*)<', page):
        group, *rest = where.split("/")
        figure = said[group][rest[0]] if group == "figures" else said[group][int(rest[0])][rest[1]]
        same("figures as they are shown", where, text, shown(int(figure), unit))
    print(f"{path.name}: {said['app']} at {said['site'] or 'its site'}, ticks {said['first_tick']} to {said['end_tick'] - 1}: all holds")
    print("\n".join(f"{count:>10} {kind}" for kind, count in checks.items()))
    print(f"chain head {said['chain_head']}: `ecoctl ledger verify` shows from the journal that it is the ledger's")

if __name__ == "__main__":
    sys.exit(__doc__) if len(sys.argv) != 2 else main(pathlib.Path(sys.argv[1]))
