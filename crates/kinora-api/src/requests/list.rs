//! The query of lists: `?after=…&limit=…&order=…`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApiError, body};

/// The order of a list, by time of creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

impl Order {
    const ALL: [Self; 2] = [Self::Asc, Self::Desc];

    /// As the wire writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asc => "asc",
            Self::Desc => "desc",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Order {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self, ApiError> {
        let found = Self::ALL.into_iter().find(|order| order.as_str() == text);
        found.ok_or_else(|| ApiError::not_among("order", text, &Self::ALL))
    }
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListQuery {
    /// The id after which the page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub after: Option<String>,
    /// The most things on the page.
    #[serde(default = "usual_limit")]
    #[schemars(range(max = 100))]
    pub limit: u32,
    /// Newest or oldest first.
    #[serde(default)]
    pub order: Order,
}

/// OpenAI states no usual limit; SGLang has this one.
fn usual_limit() -> u32 {
    20
}

impl Default for ListQuery {
    fn default() -> Self {
        Self {
            after: None,
            limit: usual_limit(),
            order: Order::Desc,
        }
    }
}

impl ListQuery {
    /// Reads the part of a URL after the question mark. Other names in it are left alone.
    ///
    /// **Errors**: 400 with the name in `param`.
    pub fn read(query: &str) -> Result<Self, ApiError> {
        let mut fields = body::query(query)?;
        let order = match fields.text("order")? {
            Some(text) => text.parse()?,
            None => Order::Desc,
        };
        let limit = fields.integer("limit", 0, 100)?;
        Ok(Self {
            after: fields.text("after")?.filter(|after| !after.is_empty()),
            limit: limit.map_or(usual_limit(), |limit| limit as u32),
            order,
        })
    }
}
