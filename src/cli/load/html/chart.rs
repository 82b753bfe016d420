//! One diagram: axes with round marks, curves, and vertical lines.
//!
//! The drawing is an SVG that is stretched to the width of the page. Text would be stretched with it, so the text is
//! HTML around the drawing, placed by percentages:
//!
//! ```text
//!                  ╎ warm-up ends       labels of vertical lines are above the box: they cover no curve
//!   20 ms ┤  ▗▄▖   ╎                    text at the left: `Axis::marks` of y
//!   10 ms ┤▄▄▌ ▐▄▄▄╎▄▄▄▄▄               the box: SVG, 1000 × 400, stretched; its strokes are not
//!     0 s ┼────────┴──────
//!         0 s     1 s    2 s            text below: those of x
//! ```
//!
//! This module turns numbers into text. What the numbers mean is up to the caller.

use std::fmt::Write;

use crate::cli::load::units::{grouped, short_time};

/// The size of the drawing in its own units, before it is stretched.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 400.0;

/// The height of a label of a vertical line, in `em` of the style sheet; and an `em` (12 px of 210) in units of the
/// drawing.
const LABEL_ROW: f64 = 1.5;
const EM: f64 = HEIGHT * 12.0 / 210.0;

/// About how many marks an axis of numbers has, and an axis of time.
const MARKS: f64 = 5.0;
const TIME_MARKS: f64 = 8.0;

/// A diagram.
pub(crate) struct Chart {
    pub(crate) title: String,
    /// A description, after the title.
    pub(crate) note: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) curves: Vec<Curve>,
    /// Vertical lines, each with a label.
    pub(crate) lines: Vec<(f64, &'static str)>,
}

/// A curve: its name, the CSS class of its colour, and its shape.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) class: &'static str,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    /// A line through these points.
    Line(Vec<(f64, f64)>),
    /// A constant value for each interval of x, with a step between two, and a gap where there is no value.
    Steps(Vec<Step>),
    /// A bar for each interval of x.
    Bars(Vec<Step>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) value: Option<f64>,
}

/// The range of an axis, and its marks.
#[derive(Debug)]
pub(crate) struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    marks: Vec<(f64, String)>,
}

impl Axis {
    /// Numbers from zero to `most`. With `whole` there are only integers.
    pub(crate) fn numbers(most: f64, whole: bool) -> Axis {
        let step = round_step(most, MARKS);
        let step = if whole { step.max(1.0) } else { step };
        let count = (most / step).ceil().max(1.0);
        let marks = (0..=count as u32).map(|i| (f64::from(i) * step, number(f64::from(i) * step, step))).collect();
        Axis { from: 0.0, to: count * step, is_log: false, marks }
    }

    /// Nanoseconds on a logarithmic axis. Both arguments have to be above 0.
    pub(crate) fn nanoseconds(least: f64, most: f64) -> Axis {
        let is_wide = most / least > 1000.0;
        let from = if is_wide { 10f64.powf(least.log10().floor()) } else { round_below(least) };
        let to = if most > from { round_above(most) } else { round_above(from * 1.5) };
        let step = |value: f64| if is_wide { value * 10.0 } else { round_above(value * 1.5) };
        let values = std::iter::successors(Some(from), |value| Some(step(*value)));
        let marks = values.take_while(|value| *value <= to * 1.01).map(|ns| (ns, short_time(ns.round() as u64)));
        Axis { from, to, is_log: true, marks: marks.collect() }
    }

    /// Seconds from 0 to `to`.
    pub(crate) fn seconds(to: f64) -> Axis {
        let (unit, name) = match to {
            _ if to <= 120.0 => (1.0, "s"),
            _ if to <= 7200.0 => (60.0, "min"),
            _ => (3600.0, "h"),
        };
        let step = round_step(to / unit, TIME_MARKS);
        let count = (to / unit / step + 1e-9).floor() as u32;
        let mark = |i: u32| {
            let value = f64::from(i) * step;
            (value * unit, format!("{} {name}", number(value, step)))
        };
        Axis { from: 0.0, to, is_log: false, marks: (0..=count).map(mark).collect() }
    }

    /// Percentiles by their number of nines: 1 is 90 %, 2 is 99 %, and so on.
    pub(crate) fn nines(to: f64) -> Axis {
        let half = (2f64.log10(), "50 %".to_owned());
        let marks = std::iter::once(half).chain((1..=to as u32).map(|nines| (f64::from(nines), percent(nines))));
        Axis { from: 0.0, to, is_log: false, marks: marks.collect() }
    }

    /// The position of a value on the axis, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let place = (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from));
        place.clamp(0.0, 1.0)
    }
}

impl Chart {
    pub(crate) fn write(&self, out: &mut String) {
        let Chart { title, note, .. } = self;
        let _ = writeln!(out, "<figure><figcaption><strong>{title}</strong> <small>{note}</small></figcaption>");
        if self.curves.len() > 1 {
            out.push_str("<p class=\"legend\">");
            for curve in &self.curves {
                let _ = write!(out, "<span class=\"{}\">{}</span> ", curve.class, curve.name);
            }
            out.push_str("</p>\n");
        }
        let _ = write!(out, "<div class=\"plot\" style=\"margin-top:{:.1}em\">", self.lines.len() as f64 * LABEL_ROW);
        out.push_str("<div class=\"y\">");
        let longest = self.y.marks.iter().max_by_key(|(_, name)| name.len()).map_or("", |(_, name)| name);
        let _ = write!(out, "<i>{longest}</i>");
        for (value, name) in &self.y.marks {
            let _ = write!(out, "<span style=\"bottom:{:.2}%\">{name}</span>", self.y.place(*value) * 100.0);
        }
        out.push_str("</div><div class=\"box\">");
        self.write_drawing(out);
        for (at, (value, name)) in self.lines.iter().enumerate() {
            let place = self.x.place(*value);
            let side = if place > 0.6 { "at left" } else { "at" };
            let _ = write!(
                out,
                "<span class=\"{side}\" style=\"left:{:.2}%;bottom:calc(100% + {:.1}em)\">{name}</span>",
                place * 100.0,
                at as f64 * LABEL_ROW
            );
        }
        out.push_str("</div><div class=\"x\">");
        // A narrow page shows only every second mark.
        let is_crowded = self.x.marks.len() > 5;
        for (at, (value, name)) in self.x.marks.iter().enumerate() {
            let class = if is_crowded && at % 2 == 1 { " class=\"wide\"" } else { "" };
            let _ = write!(out, "<span{class} style=\"left:{:.2}%\">{name}</span>", self.x.place(*value) * 100.0);
        }
        out.push_str("</div></div></figure>\n");
    }

    fn write_drawing(&self, out: &mut String) {
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\"><title>{}</title>",
            self.title
        );
        let grid: String =
            self.y.marks.iter().map(|(value, _)| format!("M0 {:.1}H{WIDTH}", self.y_of(*value))).collect();
        let _ = write!(out, "<path class=\"grid\" d=\"{grid}\"/>");
        for curve in &self.curves {
            let kind = if matches!(curve.shape, Shape::Bars(_)) { "bars" } else { "curve" };
            let _ = write!(out, "<path class=\"{kind} {}\" d=\"{}\"/>", curve.class, self.path(&curve.shape));
            if let Some((x, y)) = curve.shape.only_point() {
                let _ = write!(
                    out,
                    "<path class=\"dot {}\" d=\"M{:.1} {:.1}h0\"/>",
                    curve.class,
                    self.x_of(x),
                    self.y_of(y)
                );
            }
        }
        for (at, (value, _)) in self.lines.iter().enumerate() {
            // Up to its label.
            let top = -(at as f64 + 0.7) * LABEL_ROW * EM;
            let _ = write!(out, "<path class=\"line\" d=\"M{:.1} {top:.1}V{HEIGHT}\"/>", self.x_of(*value));
        }
        out.push_str("</svg>");
    }

    fn x_of(&self, value: f64) -> f64 {
        self.x.place(value) * WIDTH
    }

    fn y_of(&self, value: f64) -> f64 {
        HEIGHT - self.y.place(value) * HEIGHT
    }

    fn path(&self, shape: &Shape) -> String {
        let mut path = String::new();
        match shape {
            Shape::Line(points) => {
                for (i, &(x, y)) in points.iter().enumerate() {
                    let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { "M" } else { "L" }, self.x_of(x), self.y_of(y));
                }
            }
            Shape::Steps(steps) => {
                let mut is_drawing = false;
                for step in steps {
                    let Some(value) = step.value else {
                        is_drawing = false;
                        continue;
                    };
                    let (from, to, y) = (self.x_of(step.from), self.x_of(step.to), self.y_of(value));
                    let _ = match std::mem::replace(&mut is_drawing, true) {
                        true => write!(path, "V{y:.1}H{to:.1}"),
                        false => write!(path, "M{from:.1} {y:.1}H{to:.1}"),
                    };
                }
            }
            Shape::Bars(steps) => {
                for step in steps {
                    let Some(value) = step.value.filter(|value| *value > 0.0) else { continue };
                    let (from, to, y) = (self.x_of(step.from), self.x_of(step.to), self.y_of(value));
                    let _ = write!(path, "M{from:.1} {HEIGHT}V{y:.1}H{to:.1}V{HEIGHT}Z");
                }
            }
        }
        path
    }
}

impl Shape {
    /// The point of a curve that has only one, and would be invisible as a line.
    fn only_point(&self) -> Option<(f64, f64)> {
        match self {
            Shape::Line(points) => match points[..] {
                [only] => Some(only),
                _ => None,
            },
            Shape::Steps(steps) => {
                let mut values = steps.iter().filter_map(|step| Some(((step.from + step.to) / 2.0, step.value?)));
                values.next().filter(|_| values.next().is_none())
            }
            Shape::Bars(_) => None,
        }
    }
}

/// A step of 1, 2 or 5 times a power of ten, of which at most `count` fit into `span`.
fn round_step(span: f64, count: f64) -> f64 {
    if span > 0.0 { round_above(span / count) } else { 1.0 }
}

/// The least of 1, 2, 5, 10, 20, … that is not below `value`.
fn round_above(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let fits = |times: &f64| times * power >= value * (1.0 - 1e-9);
    [1.0, 2.0, 5.0].into_iter().find(fits).unwrap_or(10.0) * power
}

/// The greatest of 1, 2, 5, 10, 20, … that is not above `value`.
fn round_below(value: f64) -> f64 {
    let power = 10f64.powf((value.log10() + 1e-9).floor());
    let fits = |times: &f64| times * power <= value * (1.0 + 1e-9);
    [5.0, 2.0].into_iter().find(fits).unwrap_or(1.0) * power
}

/// A value with the number of decimals that marks with this step need.
fn number(value: f64, step: f64) -> String {
    if step >= 1.0 {
        return grouped(value.round() as u64);
    }
    let decimals = (-step.log10().floor() + 1e-9) as usize;
    format!("{value:.decimals$}")
}

/// `90 %`, `99 %`, `99.9 %`.
fn percent(nines: u32) -> String {
    let decimals = nines.saturating_sub(2) as usize;
    format!("{:.decimals$} %", 100.0 - 100.0 * 10f64.powi(-(nines as i32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis) -> String {
        axis.marks.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn marks_are_round() {
        let table = [
            ("nothing", Axis::numbers(0.0, true), "0 | 1"),
            ("one", Axis::numbers(1.0, true), "0 | 1"),
            ("three", Axis::numbers(3.0, true), "0 | 1 | 2 | 3"),
            ("thirty", Axis::numbers(30.0, true), "0 | 10 | 20 | 30"),
            ("a bit more", Axis::numbers(31.0, true), "0 | 10 | 20 | 30 | 40"),
            ("many", Axis::numbers(20_123.0, false), "0 | 5,000 | 10,000 | 15,000 | 20,000 | 25,000"),
            ("few", Axis::numbers(0.7, false), "0.0 | 0.2 | 0.4 | 0.6 | 0.8"),
            ("a second", Axis::seconds(1.0), "0.0 s | 0.2 s | 0.4 s | 0.6 s | 0.8 s | 1.0 s"),
            ("six and a bit", Axis::seconds(6.02), "0 s | 1 s | 2 s | 3 s | 4 s | 5 s | 6 s"),
            ("minutes", Axis::seconds(300.0), "0 min | 1 min | 2 min | 3 min | 4 min | 5 min"),
            ("a day", Axis::seconds(86_400.0), "0 h | 5 h | 10 h | 15 h | 20 h"),
            ("a narrow range", Axis::nanoseconds(120e3, 900e3), "100 us | 200 us | 500 us | 1 ms"),
            ("a wide range", Axis::nanoseconds(30e3, 90e6), "10 us | 100 us | 1 ms | 10 ms | 100 ms"),
            ("a round value", Axis::nanoseconds(1e6, 1e6), "1 ms | 2 ms"),
            ("a value", Axis::nanoseconds(1.5e9, 1.5e9), "1 s | 2 s"),
            ("nanoseconds", Axis::nanoseconds(1.0, 3.0), "1 ns | 2 ns | 5 ns"),
            ("rare", Axis::nines(4.3), "50 % | 90 % | 99 % | 99.9 % | 99.99 %"),
        ];
        for (name, axis, want) in table {
            assert_eq!(names(&axis), want, "{name}");
        }
    }

    #[test]
    fn axes_contain_all_values() {
        for most in [0.3, 1.0, 7.0, 99.0, 100.0, 101.0, 12_345.0, 1e9] {
            let axis = Axis::numbers(most, false);
            assert!(axis.to >= most && axis.to <= most * 2.5, "{most}: {axis:?}");
            assert!((3..=7).contains(&axis.marks.len()), "{most}: {axis:?}");
            let axis = Axis::nanoseconds(most, most * 30.0);
            assert!(axis.from <= most && axis.to >= most * 30.0, "{most}: {axis:?}");
            assert!((2..=10).contains(&axis.marks.len()), "{most}: {axis:?}");
        }
    }

    fn drawn(shape: Shape) -> String {
        let chart = Chart {
            title: String::new(),
            note: String::new(),
            x: Axis::seconds(4.0),
            y: Axis::numbers(4.0, true),
            curves: vec![Curve { name: "a", class: "a", shape }],
            lines: Vec::new(),
        };
        let mut out = String::new();
        chart.write_drawing(&mut out);
        let paths = out.split(" d=\"").skip(2).map(|rest| rest.split('"').next().unwrap_or_default());
        paths.collect::<Vec<_>>().join(" and ")
    }

    #[test]
    fn shapes_are_drawn_as_paths() {
        let step = |from: f64, value: Option<f64>| Step { from, to: from + 1.0, value };
        let two = || vec![step(0.0, Some(2.0)), step(1.0, Some(4.0)), step(2.0, None), step(3.0, Some(1.0))];
        let table = [
            ("a line", Shape::Line(vec![(0.0, 0.0), (4.0, 4.0)]), "M0.0 400.0L1000.0 0.0"),
            ("a point is a dot", Shape::Line(vec![(1.0, 2.0)]), "M250.0 200.0 and M250.0 200.0h0"),
            ("steps, and a gap", Shape::Steps(two()), "M0.0 200.0H250.0V0.0H500.0M750.0 300.0H1000.0"),
            ("one step", Shape::Steps(vec![step(2.0, Some(1.0))]), "M500.0 300.0H750.0 and M625.0 300.0h0"),
            (
                "bars",
                Shape::Bars(two()),
                "M0.0 400V200.0H250.0V400ZM250.0 400V0.0H500.0V400ZM750.0 400V300.0H1000.0V400Z",
            ),
            ("nothing", Shape::Steps(Vec::new()), ""),
        ];
        for (name, shape, want) in table {
            assert_eq!(drawn(shape), want, "{name}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!([1, 2, 3, 4].map(percent), ["90 %", "99 %", "99.9 %", "99.99 %"]);
    }
}
