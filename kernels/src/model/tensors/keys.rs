//! The keys of a model file: its sizes, and what else the architecture leaves to the file.

use super::super::architecture::{Architecture, Window};
use super::super::load_error::unsupported;
use super::super::{Facts, LoadError};
use super::names;
use crate::attention::PageKind;
use crate::gguf::Gguf;
use crate::rope::Turning;

/// What the keys say.
pub(super) struct Keys {
    pub(super) facts: Facts,
    pub(super) epsilon: f32,
    pub(super) score_scale: f32,
    pub(super) embedding_scale: Option<f32>,
    pub(super) turns: Vec<Turning>,
    /// The context that the model was first trained on, where it is told; and the key's name.
    first_context: (String, Option<usize>),
}

struct Reader<'a> {
    gguf: &'a Gguf<'a>,
    architecture: &'static Architecture,
}

impl Keys {
    pub(super) fn read(
        gguf: &Gguf<'_>,
        architecture: &'static Architecture,
        vocabulary: u64,
    ) -> Result<Self, LoadError> {
        let reader = Reader { gguf, architecture };
        reader.refuse_unknown()?;
        let facts = reader.facts(vocabulary)?;
        let turns = reader.turns(&facts)?;
        let odd = facts.layers == architecture.odd_scale_layers;
        let divided = match odd {
            true => facts.width as f64 / facts.heads as f64,
            false => facts.head_width as f64,
        };
        let scaled = architecture.scaled_embedding;
        let first = names::FIRST_CONTEXT;
        let first_context = match architecture.keys.contains(&first) && reader.has(first) {
            true => Some(reader.count(first, CONTEXT_MAX)?),
            false => None,
        };
        let turn_bytes = turns.iter().map(Turning::bytes).sum();
        Ok(Self {
            epsilon: gguf.f32(&reader.key(names::EPSILON))?,
            score_scale: (1.0 / divided.sqrt()) as f32,
            embedding_scale: scaled.then(|| (facts.width as f32).sqrt()),
            turns,
            first_context: (reader.key(first), first_context),
            facts: Facts {
                turn_bytes,
                ..facts
            },
        })
    }

    /// Whether the model reaches beyond the context that it was first trained on.
    pub(super) fn stretched(&self) -> Result<bool, LoadError> {
        match self.first_context {
            (_, Some(first)) => Ok(self.facts.context > first),
            (ref key, None) => Err(LoadError::Header(crate::gguf::GgufError::Missing {
                field: key.clone(),
            })),
        }
    }
}

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture.name)
    }

    fn has(&self, name: &str) -> bool {
        self.gguf.has(&self.key(name))
    }

    fn count(&self, name: &str, limit: usize) -> Result<usize, LoadError> {
        let key = self.key(name);
        let value = self.gguf.u32(&key)? as usize;
        match value == 0 || value > limit {
            false => Ok(value),
            true => Err(unsupported(
                &key,
                &value.to_string(),
                &format!("1..={limit}"),
            )),
        }
    }

    fn count_or(&self, name: &str, limit: usize, absent: usize) -> Result<usize, LoadError> {
        match self.has(name) {
            true => self.count(name, limit),
            false => Ok(absent),
        }
    }

    /// A number that only ever has one value here.
    fn only(&self, name: &str, only: usize) -> Result<(), LoadError> {
        let key = self.key(name);
        let value = self.gguf.u32_or(&key, only as u32)?;
        match value as usize == only {
            true => Ok(()),
            false => Err(unsupported(&key, &value.to_string(), &only.to_string())),
        }
    }

    /// A positive finite number.
    fn factor(&self, name: &str, absent: f32) -> Result<f32, LoadError> {
        let key = self.key(name);
        let value = self.gguf.f32_or(&key, absent)?;
        match value.is_finite() && value > 0.0 {
            true => Ok(value),
            false => Err(unsupported(&key, &value.to_string(), "above 0 and finite")),
        }
    }

    /// A multiple of 16.
    fn even(&self, name: &str, value: usize) -> Result<usize, LoadError> {
        match value.is_multiple_of(16) {
            true => Ok(value),
            false => Err(unsupported(
                &self.key(name),
                &value.to_string(),
                "a multiple of 16",
            )),
        }
    }

    /// A key that nobody reads would change the result if it were known what it does.
    fn refuse_unknown(&self) -> Result<(), LoadError> {
        let own = self.gguf.metadata().iter().filter_map(|(key, value)| {
            let name = key
                .strip_prefix(self.architecture.name)?
                .strip_prefix('.')?;
            Some((key, name, value))
        });
        for (key, name, value) in own {
            let known = names::COMMON.contains(&name) || self.architecture.keys.contains(&name);
            if !known {
                let supported = format!("the keys of {}", self.architecture.name);
                let field = crate::gguf::escaped(key);
                return Err(unsupported(&field, &value.type_name(), &supported));
            }
        }
        Ok(())
    }

    fn facts(&self, vocabulary: u64) -> Result<Facts, LoadError> {
        let heads = self.count(names::HEADS, 1 << 10)?;
        let width = self.count(names::WIDTH, 1 << 17)?;
        let kv_heads = self.count_or(names::KV_HEADS, heads, heads)?;
        let head_width = self.count_or(names::KEY_WIDTH, 1 << 10, width / heads)?;
        self.only(names::VALUE_WIDTH, head_width)?;
        if !heads.is_multiple_of(kv_heads) || head_width == 0 || !head_width.is_multiple_of(16) {
            let value = format!("{heads} heads over {kv_heads}, {head_width} wide");
            let supported = "a multiple of the kv heads, a multiple of 16 wide";
            return Err(unsupported(&self.key(names::HEADS), &value, supported));
        }
        if vocabulary == 0 || vocabulary > 1 << 21 {
            let value = format!("{vocabulary} rows");
            let limit = format!("1..={} rows", 1 << 21);
            return Err(unsupported(names::EMBEDDING, &value, &limit));
        }
        let feed_width = self.count(names::FEED_WIDTH, 1 << 20)?;
        let mut feed_width = self.even(names::FEED_WIDTH, feed_width)?;
        let (mut experts, mut experts_used) = (0, 0);
        if self.architecture.experts {
            experts = self.count(names::EXPERTS, 1 << 10)?;
            experts_used = self.count(names::EXPERTS_USED, experts)?;
            feed_width = self.count(names::EXPERT_FEED_WIDTH, 1 << 20)?;
            feed_width = self.even(names::EXPERT_FEED_WIDTH, feed_width)?;
        } else {
            self.only(names::EXPERTS, 0)?;
        }
        let layers = self.count(names::LAYERS, 1 << 10)?;
        let window = match self.architecture.window {
            Window::Never => 0,
            _ => self.gguf.u32_or(&self.key(names::WINDOW), 0)? as usize,
        };
        let is_windowed = |layer: &usize| window > 0 && self.architecture.is_windowed(*layer);
        let windowed = (0..layers).filter(is_windowed).count() as u64;
        // Both fit: counts are bounded above.
        let page_kind = PageKind::default();
        let layer_bytes = (kv_heads * page_kind.part_bytes(head_width)) as u64;
        Ok(Facts {
            architecture: self.architecture.name.to_owned(),
            layers,
            width,
            heads,
            kv_heads,
            head_width,
            feed_width,
            experts,
            experts_used,
            post_norms: self.architecture.post_norms,
            context: self.count(names::CONTEXT, CONTEXT_MAX)?,
            vocabulary: vocabulary as usize,
            window: if windowed > 0 { window } else { 0 },
            page_kind,
            page_bytes: (layers as u64 - windowed) * layer_bytes,
            window_page_bytes: windowed * layer_bytes,
            turn_bytes: 0,
            weight_bytes: 0,
        })
    }

    fn turns(&self, facts: &Facts) -> Result<Vec<Turning>, LoadError> {
        let architecture = self.architecture;
        let width = if architecture.turns_in_part {
            let head = facts.head_width;
            let width = self.count_or(names::ROPE_DIMENSIONS, head, head)?;
            self.even(names::ROPE_DIMENSIONS, width)?
        } else {
            self.only(names::ROPE_DIMENSIONS, facts.head_width)?;
            facts.head_width
        };
        let scaling = self.key(names::ROPE_SCALING);
        let kind = match self.gguf.has(&scaling) {
            true => self.gguf.str(&scaling)?,
            false => "none",
        };
        let slowing = match kind {
            "none" => 1.0,
            "linear" => self.factor(names::ROPE_SCALING_FACTOR, 1.0)?,
            other => return Err(unsupported(&scaling, other, "none, linear")),
        };
        let lengthening = match architecture.keys.contains(&names::ROPE_LENGTHENING) {
            true => self.factor(names::ROPE_LENGTHENING, 1.0)?,
            false => 1.0,
        };
        let everything = Turning {
            pairing: architecture.pairing,
            width,
            base: self.factor(names::ROPE_BASE, names::ROPE_BASE_DEFAULT)?,
            slowing,
            lengthening,
        };
        Ok(match architecture.window {
            Window::AllBut { base, .. } if facts.window > 0 => {
                let window = Turning {
                    base: self.factor(names::WINDOW_ROPE_BASE, base)?,
                    slowing: 1.0,
                    ..everything
                };
                vec![everything, window]
            }
            _ => vec![everything],
        })
    }
}

/// The longest context a file may claim.
const CONTEXT_MAX: usize = 1 << 24;
