//! The traces that are built in, and where their places lie. Ten zones of hourly carbon intensity of 2022 (Electricity
//! Maps, Open Database License 1.0) and two typical meteorological years (TMY3, National Renewable Energy Laboratory);
//! their terms stand beside the files, in `data/*/README.md`.

/// Where a place lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Degrees north of the equator, −90 to 90.
    pub latitude: f64,
    /// Degrees east of Greenwich, −180 to 180.
    pub longitude: f64,
}

impl Place {
    /// That place, or `None` where a figure is out of range or no number.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let exists = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        exists.then_some(Self { latitude, longitude })
    }
}

/// A zone of the carbon data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zone {
    /// Its key, as in [`carbon`].
    pub key: &'static str,
    /// A point that stands for the zone: chosen by us near its middle or where its solar power is, since a zone has
    /// no single sun. No property of the data.
    pub place: Place,
    /// The CSV text for [`crate::trace::carbon`].
    pub csv: &'static str,
}

/// A station of the weather data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Station {
    /// Its key, as in [`tmy3`].
    pub key: &'static str,
    /// Where it stands (`data/solar/README.md`).
    pub place: Place,
    /// Minutes by which its stamps are ahead of UTC.
    pub utc_offset_minutes: i16,
    /// The CSV text for [`crate::trace::tmy3`].
    pub csv: &'static str,
}

macro_rules! zone {
    ($key:literal, $latitude:literal, $longitude:literal) => {
        Zone {
            key: $key,
            place: Place { latitude: $latitude, longitude: $longitude },
            csv: include_str!(concat!("../../data/carbon/", $key, "-2022.csv")),
        }
    };
}

/// Every zone of the carbon data.
pub const ZONES: [Zone; 10] = [
    zone!("AU-SA", -34.9, 138.6),
    zone!("CA-ON", 44.0, -79.5),
    zone!("DE", 51.2, 10.4),
    zone!("ES", 40.0, -3.7),
    zone!("GB", 52.5, -1.5),
    zone!("IN-MH", 19.0, 75.0),
    zone!("NL", 52.2, 5.3),
    zone!("SE-SE1", 66.5, 20.5),
    zone!("US-CAL-CISO", 36.8, -119.8),
    zone!("US-TEX-ERCO", 31.5, -98.5),
];

/// Every station of the weather data.
pub const STATIONS: [Station; 2] = [
    Station {
        key: "greensboro-nc",
        place: Place { latitude: 36.1, longitude: -79.95 },
        utc_offset_minutes: -300,
        csv: include_str!("../../data/solar/greensboro-nc-tmy3.csv"),
    },
    Station {
        key: "sand-point-ak",
        place: Place { latitude: 55.317, longitude: -160.517 },
        utc_offset_minutes: -540,
        csv: include_str!("../../data/solar/sand-point-ak-tmy3.csv"),
    },
];

/// The CSV text of a zone's carbon intensity, or `None` where the key is none of [`ZONES`].
#[must_use]
pub fn carbon(key: &str) -> Option<&'static str> {
    zone(key).map(|zone| zone.csv)
}

/// The zone of that key.
#[must_use]
pub fn zone(key: &str) -> Option<Zone> {
    ZONES.into_iter().find(|zone| zone.key == key)
}

/// The CSV text of a station's typical year, or `None` where the key is none of [`STATIONS`].
#[must_use]
pub fn tmy3(key: &str) -> Option<&'static str> {
    station(key).map(|station| station.csv)
}

/// The station of that key.
#[must_use]
pub fn station(key: &str) -> Option<Station> {
    STATIONS.into_iter().find(|station| station.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace;

    #[test]
    fn every_zone_has_every_hour_of_2022() {
        for zone in ZONES {
            let trace = trace::carbon(zone.key, zone.csv.as_bytes()).unwrap();
            assert_eq!(trace.intervals().len(), 8_760, "{}", zone.key);
            assert_eq!(trace.intervals()[0].start_utc_ms, 1_640_995_200_000, "{}", zone.key);
        }
    }

    #[test]
    fn every_station_has_every_hour_of_a_year() {
        for station in STATIONS {
            let csv = station.csv.as_bytes();
            let trace = trace::tmy3(station.key, csv, station.utc_offset_minutes, 2022).unwrap();
            assert_eq!(trace.intervals().len(), 8_760, "{}", station.key);
        }
    }

    #[test]
    fn places_lie_on_earth() {
        assert!(Place::new(90.0, -180.0).is_some());
        for (latitude, longitude) in [(90.1, 0.0), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(Place::new(latitude, longitude), None);
        }
    }

    #[test]
    fn places_are_found_by_key() {
        assert!(carbon("DE").is_some_and(|csv| csv.contains("216.56")));
        assert!(tmy3("greensboro-nc").is_some());
        assert_eq!(carbon("XX"), None);
        assert_eq!(tmy3("XX"), None);
    }
}
