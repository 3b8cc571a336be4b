//! Names and values of labels.

/// The value of the label `reason` for rows that were deleted because they referenced a due row.
pub(crate) const CHILDREN: &str = "children";

/// The name of the label that contains the name of the database. Every series has this label.
pub(crate) const DATABASE: &str = "database";

/// A destination of exported metrics or spans.
#[derive(Clone, Copy, Debug, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Exporter {
    Textfile,
    Pushgateway,
    Otlp,
}

impl Exporter {
    pub(super) const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }
}
