//! The ledger's tables as Parquet: the [columns](crate::columns) of the CSV tables, for whoever reads a year of them.
//!
//! | column | Parquet |
//! | --- | --- |
//! | `true` or `false` | `BOOLEAN` |
//! | a count below 2⁶⁴ | `INT64`, unsigned 64 bits |
//! | a reading | the same, null where a meter had none |
//! | a sum or a carbon product | `DECIMAL(38, 0)`, since 64 bits do not hold it and Parquet has no integer of 128 |
//! | a name | UTF-8 |
//!
//! The file says in its metadata whose books these are and where their chain ended ([`Origin`]).

use crate::books::TickRows;
use crate::columns::{Cell, Column, Holds, app_cells, app_columns, site_cells, site_columns};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType};
use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use std::io::Write;
use std::sync::Arc;
use thiserror::Error;

/// Rows that are gathered before they are written as one group: some tens of megabytes of the widest table.
const GROUP_ROWS: usize = 65_536;

/// Decimal digits of the widest column; 128 bits with a sign hold no more.
const DIGITS: i32 = 38;

/// The first count that has more digits than that.
const TOO_WIDE: u128 = 10_u128.pow(38);

/// Why a table cannot be written.
#[derive(Debug, Error)]
pub enum ParquetTableError {
    /// The file.
    #[error("cannot write the table")]
    Parquet(#[from] ParquetError),
    /// A count that its column cannot hold.
    #[error("{column} cannot be {count}: a column of Parquet holds less than {bound}")]
    Count {
        /// Which column.
        column: String,
        /// The count.
        count: u128,
        /// The first that does not fit.
        bound: u128,
    },
    /// A bug of this crate: a cell of another column.
    #[error("{column} has a cell of another column")]
    Cell {
        /// Which column.
        column: String,
    },
}

/// Whose books a table is of; its keys stand in the file's metadata, each with `ecovisor.` before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The site's name; empty where it has none.
    pub site: String,
    /// The chain's link after the last tick, in hex; empty where there is no chain.
    pub chain_head: String,
    /// The first tick and the one after the last.
    pub ticks: Option<(u64, u64)>,
}

impl Origin {
    /// Its keys and values.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("ecovisor.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("ecovisor.site", self.site.clone()),
            ("ecovisor.chain_head", self.chain_head.clone()),
        ];
        if let Some((first, end)) = self.ticks {
            pairs.push(("ecovisor.first_tick", first.to_string()));
            pairs.push(("ecovisor.end_tick", end.to_string()));
        }
        pairs
    }
}

/// Writes both tables.
pub struct ParquetWriter<A: Write + Send, S: Write + Send> {
    apps: Table<A>,
    site: Table<S>,
}

impl<A: Write + Send, S: Write + Send> ParquetWriter<A, S> {
    /// Begins both tables.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn new(apps: A, site: S) -> Result<Self, ParquetTableError> {
        Ok(Self {
            apps: Table::new("apps", apps, app_columns())?,
            site: Table::new("site", site, site_columns())?,
        })
    }

    /// Adds a tick.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&mut self, tick: &TickRows) -> Result<(), ParquetTableError> {
        for row in &tick.apps {
            self.apps.row(|take| app_cells(tick, row, take))?;
        }
        self.site.row(|take| site_cells(tick, take))
    }

    /// Ends both tables; only then they are whole.
    ///
    /// # Errors
    /// Where what is left cannot be written.
    pub fn finish(self, origin: &Origin) -> Result<(), ParquetTableError> {
        self.apps.finish(origin)?;
        self.site.finish(origin)
    }
}

/// A table in the making.
struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Gathered>,
    rows: usize,
}

impl<W: Write + Send> Table<W> {
    fn new(name: &str, out: W, columns: Vec<Column>) -> Result<Self, ParquetTableError> {
        let fields = columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder(name).with_fields(fields).build()?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { file, columns: columns.into_iter().map(Gathered::new).collect(), rows: 0 })
    }

    fn row(&mut self, cells: impl FnOnce(&mut dyn FnMut(Cell<'_>))) -> Result<(), ParquetTableError> {
        let (mut columns, mut taken) = (self.columns.iter_mut(), Ok(()));
        cells(&mut |cell| {
            if let (Ok(()), Some(column)) = (&taken, columns.next()) {
                taken = column.take(cell);
            }
        });
        taken?;
        self.rows += 1;
        if self.rows == GROUP_ROWS { self.group() } else { Ok(()) }
    }

    fn group(&mut self) -> Result<(), ParquetTableError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    fn finish(mut self, origin: &Origin) -> Result<(), ParquetTableError> {
        if self.rows > 0 {
            self.group()?;
        }
        for (key, value) in origin.pairs() {
            self.file.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        self.file.close()?;
        Ok(())
    }
}

/// A column as Parquet describes it.
fn field(column: &Column) -> Result<Type, ParquetError> {
    let builder = |physical| {
        let repetition = match column.holds {
            Holds::Reading => Repetition::OPTIONAL,
            Holds::Flag | Holds::Whole | Holds::Wide | Holds::Text => Repetition::REQUIRED,
        };
        Type::primitive_type_builder(&column.name, physical).with_repetition(repetition)
    };
    let unsigned = Some(LogicalType::integer(64, false));
    match column.holds {
        Holds::Flag => builder(Physical::BOOLEAN),
        Holds::Whole | Holds::Reading => builder(Physical::INT64).with_logical_type(unsigned),
        Holds::Text => builder(Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String)),
        Holds::Wide => builder(Physical::FIXED_LEN_BYTE_ARRAY)
            .with_length(16)
            .with_precision(DIGITS)
            .with_scale(0)
            .with_logical_type(Some(LogicalType::decimal(0, DIGITS))),
    }
    .build()
}

/// A column's cells until their group is written.
struct Gathered {
    column: Column,
    cells: Cells,
}

enum Cells {
    Flags(Vec<bool>),
    Wholes(Vec<i64>),
    /// With a 1 for each that is there, and a 0 for each that is not.
    Readings(Vec<i64>, Vec<i16>),
    Wides(Vec<FixedLenByteArray>),
    Texts(Vec<ByteArray>),
}

impl Gathered {
    fn new(column: Column) -> Self {
        let cells = match column.holds {
            Holds::Flag => Cells::Flags(Vec::new()),
            Holds::Whole => Cells::Wholes(Vec::new()),
            Holds::Reading => Cells::Readings(Vec::new(), Vec::new()),
            Holds::Wide => Cells::Wides(Vec::new()),
            Holds::Text => Cells::Texts(Vec::new()),
        };
        Self { column, cells }
    }

    fn take(&mut self, cell: Cell<'_>) -> Result<(), ParquetTableError> {
        match (&mut self.cells, cell) {
            (Cells::Flags(cells), Cell::Flag(flag)) => cells.push(flag),
            (Cells::Texts(cells), Cell::Text(text)) => cells.push(text.into()),
            (Cells::Wholes(cells), Cell::Count(count)) => cells.push(whole(&self.column, count)?),
            (Cells::Wides(cells), Cell::Count(count)) => cells.push(wide(&self.column, count)?),
            (Cells::Readings(cells, there), Cell::Count(count)) => {
                cells.push(whole(&self.column, count)?);
                there.push(1);
            }
            (Cells::Readings(_, there), Cell::Absent) => there.push(0),
            _ => return Err(ParquetTableError::Cell { column: self.column.name.clone() }),
        }
        Ok(())
    }

    /// Writes the cells and forgets them.
    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetTableError> {
        let Some(mut out) = group.next_column()? else {
            return Err(ParquetTableError::Cell { column: self.column.name.clone() });
        };
        self.cells.write(&mut out)?;
        Ok(out.close()?)
    }
}

impl Cells {
    fn write(&mut self, out: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        match self {
            Self::Flags(cells) => drop(out.typed::<BoolType>().write_batch(cells, None, None)?),
            Self::Wholes(cells) => drop(out.typed::<Int64Type>().write_batch(cells, None, None)?),
            Self::Wides(cells) => drop(out.typed::<FixedLenByteArrayType>().write_batch(cells, None, None)?),
            Self::Texts(cells) => drop(out.typed::<ByteArrayType>().write_batch(cells, None, None)?),
            Self::Readings(cells, there) => {
                out.typed::<Int64Type>().write_batch(cells, Some(there), None)?;
            }
        }
        match self {
            Self::Flags(cells) => cells.clear(),
            Self::Wholes(cells) => cells.clear(),
            Self::Wides(cells) => cells.clear(),
            Self::Texts(cells) => cells.clear(),
            Self::Readings(cells, there) => {
                cells.clear();
                there.clear();
            }
        }
        Ok(())
    }
}

/// The 64 bits of a count, which Parquet keeps in an integer with a sign and reads without one.
fn whole(column: &Column, count: u128) -> Result<i64, ParquetTableError> {
    let narrow = u64::try_from(count).map_err(|_| ParquetTableError::Count {
        column: column.name.clone(),
        count,
        bound: u128::from(u64::MAX) + 1,
    });
    narrow.map(u64::cast_signed)
}

/// A count as a decimal: its bytes from the highest to the lowest.
fn wide(column: &Column, count: u128) -> Result<FixedLenByteArray, ParquetTableError> {
    if count >= TOO_WIDE {
        return Err(ParquetTableError::Count { column: column.name.clone(), count, bound: TOO_WIDE });
    }
    Ok(FixedLenByteArray::from(count.to_be_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::life;
    use crate::table::TableWriter;
    use ecovisor_units::{Carbon, Energy};
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    fn rows(seed: u64, ticks: u32) -> Vec<TickRows> {
        life(seed, ticks).records.iter().map(TickRows::from).collect()
    }

    fn written(rows: &[TickRows]) -> Result<[Vec<u8>; 2], ParquetTableError> {
        let (mut apps, mut site) = (Vec::new(), Vec::new());
        let mut writer = ParquetWriter::new(&mut apps, &mut site)?;
        rows.iter().try_for_each(|tick| writer.write(tick))?;
        writer.finish(&origin())?;
        Ok([apps, site])
    }

    fn origin() -> Origin {
        Origin { site: "roof".to_owned(), chain_head: "00ff".to_owned(), ticks: Some((0, 40)) }
    }

    fn reader(file: &[u8]) -> SerializedFileReader<bytes::Bytes> {
        SerializedFileReader::new(bytes::Bytes::copy_from_slice(file)).unwrap()
    }

    /// Every cell as CSV has it.
    fn as_csv(file: &[u8]) -> String {
        let reader = reader(file);
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let names: Vec<_> = schema.columns().iter().map(|column| column.name().to_owned()).collect();
        let mut text = names.join(",") + "\n";
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let cells: Vec<String> = row.get_column_iter().map(|(_, field)| cell(field)).collect();
            text += &(cells.join(",") + "\n");
        }
        text
    }

    fn cell(field: &Field) -> String {
        match field {
            Field::Null => String::new(),
            Field::Bool(flag) => flag.to_string(),
            Field::ULong(count) => count.to_string(),
            Field::Str(text) => text.clone(),
            Field::Decimal(decimal) => {
                let bytes: [u8; 16] = decimal.data().try_into().unwrap();
                assert_eq!((decimal.precision(), decimal.scale()), (38, 0));
                u128::from_be_bytes(bytes).to_string()
            }
            other => panic!("no cell of a table: {other:?}"),
        }
    }

    #[test]
    fn every_cell_is_that_of_the_csv() {
        let mut rows = rows(11, 60);
        rows[3].apps[0].flows.load = Energy::new(u64::MAX);
        rows[3].apps[0].flows.carbon = Carbon::new(TOO_WIDE - 1);
        let (mut apps, mut site) = (Vec::new(), Vec::new());
        let mut csv = TableWriter::new(&mut apps, &mut site).unwrap();
        rows.iter().for_each(|tick| csv.write(tick).unwrap());
        csv.finish().unwrap();
        let [apps_back, site_back] = written(&rows).unwrap().map(|file| as_csv(&file));
        assert_eq!(apps_back, String::from_utf8(apps).unwrap());
        assert_eq!(site_back, String::from_utf8(site).unwrap());
        assert!(site_back.contains(",,"), "a meter without a reading is among them");
    }

    #[test]
    fn the_file_says_whose_books_it_holds() {
        for file in written(&rows(2, 5)).unwrap() {
            let reader = reader(&file);
            let said = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
            let said: Vec<_> = said.into_iter().map(|pair| (pair.key, pair.value.unwrap())).collect();
            let due: Vec<_> = origin().pairs().into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            assert_eq!(said, due);
        }
    }

    #[test]
    fn rows_go_out_in_groups_and_come_back_in_order() {
        let one = rows(5, 3).pop().unwrap();
        let many = usize::div_ceil(GROUP_ROWS, one.apps.len()) + 1;
        let rows: Vec<TickRows> = (0_u64..).take(many).map(|tick| TickRows { tick, ..one.clone() }).collect();
        let [apps, _] = written(&rows).unwrap();
        let reader = reader(&apps);
        assert_eq!(reader.metadata().num_row_groups(), 2);
        let ticks =
            reader.get_row_iter(None).unwrap().map(|row| match row.unwrap().get_column_iter().next() {
                Some((_, Field::ULong(tick))) => *tick,
                other => panic!("no tick: {other:?}"),
            });
        assert!(ticks.is_sorted());
    }

    #[test]
    fn what_a_column_cannot_hold_is_named() {
        let mut rows = rows(1, 2);
        rows[1].apps[0].flows.carbon = Carbon::new(TOO_WIDE);
        let said = written(&rows).unwrap_err().to_string();
        assert_eq!(
            said,
            format!("carbon_product cannot be {TOO_WIDE}: a column of Parquet holds less than {TOO_WIDE}")
        );
    }
}
