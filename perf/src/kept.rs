//! Rows as a run keeps them: a line of CSV for each, with every sample. What follows from the samples is worked out
//! again when they are read.

use anyhow::{Context, ensure};

use crate::row::Row;

const HEADER: &str = "suite,case,system,n,metric,unit,ratio_to,reason,samples";

/// The rows as a file.
pub(crate) fn to_csv(rows: &[Row]) -> String {
    let mut text = format!("{HEADER}\n");
    for row in rows {
        let samples: Vec<_> = row.samples.iter().map(f64::to_string).collect();
        let fields = [
            row.suite,
            &row.case,
            row.system,
            &row.n.to_string(),
            row.metric,
            row.unit,
            row.ratio_to.unwrap_or_default(),
            row.reason.as_deref().unwrap_or_default(),
            &samples.join(" "),
        ];
        text += &fields.map(quoted).join(",");
        text.push('\n');
    }
    text
}

/// The rows of a file.
pub(crate) fn from_csv(text: &str) -> anyhow::Result<Vec<Row>> {
    let mut lines = text.lines();
    ensure!(lines.next() == Some(HEADER), "the first line is not {HEADER:?}");
    let mut rows = Vec::new();
    for (line, text) in lines.enumerate() {
        rows.push(read(text).with_context(|| format!("line {}", line + 2))?);
    }
    let all = rows.clone();
    let is_same = |a: &Row, b: &Row| (a.suite, &a.case, a.n, a.metric) == (b.suite, &b.case, b.n, b.metric);
    let with_ratio = rows.into_iter().map(|row| {
        let other = all.iter().find(|other| is_same(other, &row) && Some(other.system) == row.ratio_to);
        match other {
            Some(other) => row.with_ratio_to(other),
            None => row,
        }
    });
    Ok(with_ratio.collect())
}

fn read(line: &str) -> anyhow::Result<Row> {
    let fields: [String; 9] = fields(line)
        .try_into()
        .map_err(|fields: Vec<_>| anyhow::anyhow!("{} fields, not 9", fields.len()))?;
    let [suite, case, system, n, metric, unit, ratio_to, reason, samples] = fields;
    let samples: Result<Vec<f64>, _> = samples.split_whitespace().map(str::parse).collect();
    let row = Row {
        // Names are few, and this process is about to end.
        suite: suite.leak(),
        case,
        system: system.leak(),
        n: n.parse().context("n is no number")?,
        metric: metric.leak(),
        unit: unit.leak(),
        ratio_to: (!ratio_to.is_empty()).then(|| &*ratio_to.leak()),
        reason: (!reason.is_empty()).then_some(reason),
        ..Row::default()
    };
    Ok(row.with_samples(samples.context("a sample is no number")?))
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

/// The fields of a line: between commas, or quoted, with a quote doubled.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => {
                fields.last_mut().expect("one").push('"')
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            other => fields.last_mut().expect("one").push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_were_kept() {
        let row = |system, samples: &[f64]| {
            let case = "payload=4KiB,burst=1".to_owned();
            let row =
                Row { suite: "echo", case, system, n: 16, metric: "latency", unit: "us", ..Row::default() };
            row.with_samples(samples.to_vec())
        };
        let floor = row("floor", &[1.0, 2.5, 0.1]);
        let missing = Row { reason: Some("\"tmux\", of the package, is missing".into()), ..row("tmux", &[]) };
        let rows = [row("fugue", &[2.0, 5.0, 0.3]).with_ratio_to(&floor), floor, missing];
        let read = from_csv(&to_csv(&rows)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{rows:?}"));
    }
}
