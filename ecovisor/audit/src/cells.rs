//! Numbers in columns: what blocks and rollups are made of.
//!
//! A walk over rows names for each figure the column that it belongs to; writing, the figure goes to the end of that
//! column, reading, it comes from its front. So one walk serves both ways, and rows may be ragged: a column that a row
//! does not name has nothing of it. A column is coded alone:
//!
//! ```text
//! varint  columns without figures between the one before and this one
//! varint  figures in it; never zero
//! byte    order: 0 the figures themselves, 1 their differences, 2 the differences of these, whichever is shortest;
//!         3 all figures are zero, and nothing follows
//! varint  unit: what all of these are multiples of; at least 1
//! varint  each divided by the unit, zigzag; a zero is followed by how many more zeros come after it
//! ```
//!
//! No general compressor goes over it: what is left is the noise of the meters, which none makes smaller (a tenth at most,
//! measured with deflate), and a decoder that is forty lines long can be read by whoever audits it.

use thiserror::Error;

/// Most figures in one table: 64 MB of memory. A block of 600 ticks of ten apps has 60,000.
pub const FIGURES_MAX: usize = 1 << 22;

/// Columns that a table may reach to. Rollups of ten thousand apps with two containers each reach to 1,920,128.
pub const COLUMNS_MAX: usize = 1 << 21;

/// Why columns cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CellsError {
    /// The bytes end within a column.
    #[error("the columns end early")]
    Truncated,
    /// A number has more digits than any number.
    #[error("a number in the columns is too long")]
    TooLong,
    /// More figures than any table has.
    #[error("{figures} figures or columns are more than a table may have")]
    TooMany {
        /// How many.
        figures: u128,
    },
    /// An order that is none.
    #[error("a column of order {0}, known are 0 to 3")]
    Order(u8),
    /// A row names a figure that its column does not have.
    #[error("column {0} has fewer figures than the rows")]
    Short(usize),
    /// Figures that no row names.
    #[error("column {0} has more figures than the rows")]
    Long(usize),
    /// A figure that is none of its kind.
    #[error("column {column} holds {figure}, which is none of its kind")]
    Figure {
        /// Which column.
        column: usize,
        /// What it says.
        figure: u128,
    },
    /// Bytes after the last column.
    #[error("{0} bytes follow the columns")]
    Trailing(usize),
}

/// A walk over the figures of rows, to write or to read them.
pub(crate) trait Cells {
    /// Writing: takes `figure` and gives it back. Reading: gives what was written there, whatever `figure` is.
    fn cell(&mut self, column: usize, figure: u128) -> Result<u128, CellsError>;

    /// As [`Cells::cell`], for figures of a narrower kind.
    fn narrow<T: Copy + Into<u128> + TryFrom<u128>>(
        &mut self,
        column: usize,
        figure: T,
    ) -> Result<T, CellsError> {
        let figure = self.cell(column, figure.into())?;
        T::try_from(figure).map_err(|_| CellsError::Figure { column, figure })
    }

    /// As [`Cells::cell`], for yes and no.
    fn yes(&mut self, column: usize, figure: bool) -> Result<bool, CellsError> {
        match self.cell(column, u128::from(figure))? {
            0 => Ok(false),
            1 => Ok(true),
            figure => Err(CellsError::Figure { column, figure }),
        }
    }
}

/// Collects columns.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    columns: Vec<Vec<u128>>,
    figures: usize,
}

impl Cells for Writer {
    fn cell(&mut self, column: usize, figure: u128) -> Result<u128, CellsError> {
        if self.columns.len() <= column {
            self.columns.resize_with(column + 1, Vec::new);
        }
        self.columns[column].push(figure);
        self.figures += 1;
        Ok(figure)
    }
}

impl Writer {
    /// Figures so far.
    pub(crate) const fn figures(&self) -> usize {
        self.figures
    }

    /// All columns as bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, wide(self.columns.iter().filter(|column| !column.is_empty()).count()));
        let mut empty = 0;
        for column in &self.columns {
            if column.is_empty() {
                empty += 1;
                continue;
            }
            put(&mut bytes, empty);
            empty = 0;
            bytes.extend(encode_column(column));
        }
        bytes
    }
}

/// Gives columns back.
#[derive(Debug)]
pub(crate) struct Reader {
    columns: Vec<std::vec::IntoIter<u128>>,
}

impl Cells for Reader {
    fn cell(&mut self, column: usize, _figure: u128) -> Result<u128, CellsError> {
        let next = self.columns.get_mut(column).and_then(Iterator::next);
        next.ok_or(CellsError::Short(column))
    }
}

impl Reader {
    /// The columns at the front of some bytes, and what follows them.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<(Self, &[u8]), CellsError> {
        let columns = count(&mut bytes, COLUMNS_MAX)?;
        let mut left = FIGURES_MAX;
        let mut read = Vec::new();
        for _ in 0..columns {
            let empty = count(&mut bytes, COLUMNS_MAX - read.len().min(COLUMNS_MAX))?;
            read.resize_with(read.len() + empty, Default::default);
            let column = decode_column(&mut bytes, left)?;
            left -= column.len();
            read.push(column.into_iter());
        }
        Ok((Self { columns: read }, bytes))
    }

    /// The columns that some bytes are.
    pub(crate) fn whole(bytes: &[u8]) -> Result<Self, CellsError> {
        match Self::decode(bytes)? {
            (reader, []) => Ok(reader),
            (_, rest) => Err(CellsError::Trailing(rest.len())),
        }
    }

    /// Whether all of it was named.
    pub(crate) fn finish(self) -> Result<(), CellsError> {
        match self.columns.iter().position(|column| column.len() > 0) {
            Some(column) => Err(CellsError::Long(column)),
            None => Ok(()),
        }
    }
}

/// How many, at most `most`.
fn count(bytes: &mut &[u8], most: usize) -> Result<usize, CellsError> {
    let figures = take(bytes)?;
    usize::try_from(figures).ok().filter(|count| *count <= most).ok_or(CellsError::TooMany { figures })
}

pub(crate) fn wide(count: usize) -> u128 {
    u128::try_from(count).unwrap_or(u128::MAX)
}

/// Adds a number, seven bits a byte, the lowest first, the top bit set where more follow (LEB128).
pub(crate) fn put(bytes: &mut Vec<u8>, mut number: u128) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

/// Takes a number off the front.
fn take(bytes: &mut &[u8]) -> Result<u128, CellsError> {
    let mut number = 0_u128;
    for shift in (0..128).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(CellsError::Truncated)?;
        *bytes = rest;
        let low = u128::from(byte & 0x7f);
        if low.leading_zeros() < shift {
            return Err(CellsError::TooLong);
        }
        number |= low << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(CellsError::TooLong)
}

/// Differences with a sign as numbers without: small ones stay small.
const fn zigzag(difference: i128) -> u128 {
    ((difference << 1) ^ (difference >> 127)).cast_unsigned()
}

const fn unzigzag(number: u128) -> i128 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// The order of a column that is all zeros.
const ZEROS: u8 = 3;

/// What a figure is expected to be, after those before it; wrapping, so that every figure can follow every other.
const fn expected(order: u8, last: u128, before: u128) -> u128 {
    match order {
        0 => 0,
        1 => last,
        _ => last.wrapping_add(last.wrapping_sub(before)),
    }
}

fn encode_column(column: &[u128]) -> Vec<u8> {
    if column.iter().all(|figure| *figure == 0) {
        let mut bytes = Vec::new();
        put(&mut bytes, wide(column.len()));
        bytes.push(ZEROS);
        return bytes;
    }
    let coded = [0, 1, 2].map(|order| encode_as(order, column));
    coded.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn encode_as(order: u8, column: &[u128]) -> Vec<u8> {
    let (mut last, mut before) = (0, 0);
    let differences: Vec<i128> = column
        .iter()
        .map(|&figure| {
            let difference = figure.wrapping_sub(expected(order, last, before)).cast_signed();
            (before, last) = (last, figure);
            difference
        })
        .collect();
    let unit = common(&differences);
    let mut bytes = Vec::new();
    put(&mut bytes, wide(column.len()));
    bytes.push(order);
    put(&mut bytes, unit);
    let mut rest = differences.as_slice();
    while let [difference, more @ ..] = rest {
        put(&mut bytes, zigzag(divided(*difference, unit)));
        rest = more;
        if *difference == 0 {
            let zeros = more.iter().take_while(|difference| **difference == 0).count();
            put(&mut bytes, wide(zeros));
            rest = &more[zeros..];
        }
    }
    bytes
}

/// The greatest common divisor; 1 where all are zero.
fn common(differences: &[i128]) -> u128 {
    let mut unit = 0;
    for difference in differences {
        unit = divisor(difference.unsigned_abs(), unit);
        if unit == 1 {
            break;
        }
    }
    unit.max(1)
}

fn divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        // Most figures are small, and so is a division of small numbers.
        (a, b) = match (u64::try_from(a), u64::try_from(b)) {
            (Ok(narrow_a), Ok(narrow_b)) => (b, u128::from(narrow_a % narrow_b)),
            _ => (b, a % b),
        };
    }
    a
}

/// A difference in units; the unit divides it.
fn divided(difference: i128, unit: u128) -> i128 {
    if unit == 1 {
        return difference;
    }
    let size = (difference.unsigned_abs() / unit).cast_signed();
    if difference < 0 { size.wrapping_neg() } else { size }
}

fn decode_column(bytes: &mut &[u8], left: usize) -> Result<Vec<u128>, CellsError> {
    let figures = count(bytes, left)?;
    let (order, rest) = bytes.split_first().ok_or(CellsError::Truncated)?;
    *bytes = rest;
    if *order > ZEROS {
        return Err(CellsError::Order(*order));
    }
    if *order == ZEROS {
        return Ok(vec![0; figures]);
    }
    let unit = take(bytes)?;
    let (mut column, mut last, mut before) = (Vec::new(), 0, 0);
    let mut next = |column: &mut Vec<u128>, difference: u128| {
        let figure = expected(*order, last, before).wrapping_add(difference);
        (before, last) = (last, figure);
        column.push(figure);
    };
    while column.len() < figures {
        let number = take(bytes)?;
        let difference = unzigzag(number).cast_unsigned().wrapping_mul(unit);
        next(&mut column, difference);
        if number == 0 {
            let zeros = count(bytes, figures - column.len())?;
            (0..zeros).for_each(|_| next(&mut column, 0));
        }
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(rows: &[(usize, u128)]) -> Vec<u8> {
        let mut writer = Writer::default();
        for (column, figure) in rows {
            writer.cell(*column, *figure).unwrap();
        }
        writer.encode()
    }

    fn read(bytes: &[u8], columns: &[usize]) -> Result<Vec<u128>, CellsError> {
        let mut reader = Reader::whole(bytes)?;
        let figures = columns.iter().map(|column| reader.cell(*column, 0)).collect::<Result<_, _>>()?;
        reader.finish().map(|()| figures)
    }

    #[test]
    fn the_bytes_of_columns_are_fixed() {
        let check = |figures: &[u128], bytes: &[u8]| assert_eq!(encode_column(figures), bytes, "{figures:?}");
        check(&[0, 0, 0], &[3, 3]);
        // Alike: a difference of 5 once, then zeros.
        check(&[5, 5, 5, 5, 5], &[5, 1, 5, 2, 0, 3]);
        // A straight line: one step from 0, then none that was not expected; in units of 1,000.
        check(&[1_000, 2_000, 3_000, 4_000, 5_000], &[5, 2, 0xe8, 7, 2, 0, 3]);
        // Noise around nothing: the figures themselves.
        check(&[3, 9, 7, 1], &[4, 0, 1, 6, 18, 14, 2]);
        assert_eq!(written(&[(0, 1), (2, 300)]), [2, 0, 1, 0, 1, 2, 1, 1, 0, 0xac, 2, 2]);
    }

    #[test]
    fn what_is_no_table_is_named() {
        let good = written(&[(0, 1), (1, 2)]);
        assert_eq!(read(&good, &[0, 1]), Ok(vec![1, 2]));
        assert_eq!(read(&good, &[0]), Err(CellsError::Long(1)));
        assert_eq!(read(&good, &[0, 0]), Err(CellsError::Short(0)));
        assert_eq!(read(&good, &[7]), Err(CellsError::Short(7)));
        assert_eq!(read(&good[..good.len() - 1], &[0, 1]), Err(CellsError::Truncated));
        assert_eq!(read(&[&good[..], &[9]].concat(), &[0, 1]), Err(CellsError::Trailing(1)));
        assert_eq!(read(&[1, 0, 1, 4, 1, 2], &[0]), Err(CellsError::Order(4)));
        assert_eq!(read(&[0xff; 40], &[0]), Err(CellsError::TooLong));
        // More zeros than the column says that it has.
        assert_eq!(read(&[1, 0, 2, 0, 1, 0, 9], &[0]), Err(CellsError::TooMany { figures: 9 }));
        let many = [&[1, 0][..], &[0x81, 0x80, 0x80, 2]].concat();
        assert_eq!(read(&many, &[0]), Err(CellsError::TooMany { figures: (1 << 22) + 1 }));
    }

    fn figure() -> impl Strategy<Value = u128> {
        prop_oneof![Just(0), 0..10_u128, (0..50_u128).prop_map(|n| n * 1_000), any::<u128>(), Just(u128::MAX)]
    }

    proptest! {
        #[test]
        fn every_column_comes_back(figures in prop::collection::vec(figure(), 0..60)) {
            for order in 0..3 {
                let coded = encode_as(order, &figures);
                let mut bytes = &coded[..];
                prop_assert_eq!(decode_column(&mut bytes, figures.len()), Ok(figures.clone()));
                prop_assert!(bytes.is_empty());
            }
        }

        #[test]
        fn every_table_comes_back(rows in prop::collection::vec((0..5_usize, figure()), 0..60)) {
            let columns: Vec<usize> = rows.iter().map(|row| row.0).collect();
            let figures: Vec<u128> = rows.iter().map(|row| row.1).collect();
            prop_assert_eq!(read(&written(&rows), &columns), Ok(figures));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &[0, 1, 2]);
        }
    }
}
