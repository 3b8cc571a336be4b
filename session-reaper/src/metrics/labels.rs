//! The closed sets of label values.

/// The `reason` of rows that were deleted because they referenced a due row.
pub(crate) const CHILDREN: &str = "children";

/// A destination of exported metrics or spans.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exporter {
    Textfile,
    Pushgateway,
    Otlp,
}

impl Exporter {
    pub(super) const ALL: [Self; 3] = [Self::Textfile, Self::Pushgateway, Self::Otlp];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Textfile => "textfile",
            Self::Pushgateway => "pushgateway",
            Self::Otlp => "otlp",
        }
    }
}
