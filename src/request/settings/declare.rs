//! The macro that turns the list of settings into everything that spells one: the fields of [`Request`] and of
//! [`ResolvedRequest`], the defaults, the builder, and the rows of the table.
//!
//! [`Request`]: crate::request::Request
//! [`ResolvedRequest`]: crate::request::ResolvedRequest

/// Declares the settings. An entry is
///
/// ```text
/// /// What it is. (Of the first paragraph every front end makes its help; the second adds details.)
/// name: Type => Resolved = default, shape, under heading, |argument: Type| value;
/// ```
///
/// `=> Resolved` stands where the model fills in what is not set: `settle::name` says how. `under` names
/// the heading of its help. The last part is the builder's method; without it there is none, or it is written by
/// hand.
macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $asked:ty $(=> $resolved:ty)? = $default:expr, $shape:expr
        $(, under $heading:expr)? $(, |$($argument:ident: $given:ty),+| $value:expr)?;
    )+) => {
        /// What to draw. What is not set comes from the model.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Request {
            $($(#[doc = $doc])+ pub $name: $asked,)+
        }

        impl Default for Request {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// The settings.
        impl Request {
            $($(
                #[doc = concat!("Sets [`", stringify!($name), "`](field@Self::", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, $($argument: $given),+) -> Self {
                    self.$name = $value;
                    self
                }
            )?)+

            /// Every setting with the model's value where none was asked for; not checked.
            pub(in crate::request) fn settle(&self, model: &Manifest) -> Result<ResolvedRequest> {
                Ok(ResolvedRequest { $($name: settings!(@settled self, model, $name $(, $resolved)?),)+ })
            }
        }

        /// A request with every number settled and checked: equal requests draw equal pictures. Its JSON is a
        /// request's.
        #[derive(Debug, Clone, PartialEq)]
        pub struct ResolvedRequest {
            $($(#[doc = $doc])+ pub $name: settings!(@resolved $asked $(, $resolved)?),)+
        }

        impl ResolvedRequest {
            /// The request that asks for exactly this.
            pub fn to_request(&self) -> Request {
                Request { $($name: self.$name.clone().into(),)+ }
            }
        }

        /// Every setting of a request, in the order of its JSON.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: stringify!($name),
            doc: concat!($($doc, "\n"),+),
            shape: $shape,
            heading: settings!(@heading $($heading)?),
            get: |request| request.$name.to_value(),
            set: |request, value| {
                request.$name = Field::from_value(value)?;
                Ok(())
            },
        }),+];
    };
    (@heading) => { None };
    (@heading $heading:expr) => { Some($heading) };
    (@resolved $asked:ty) => { $asked };
    (@resolved $asked:ty, $resolved:ty) => { $resolved };
    (@settled $request:ident, $model:ident, $name:ident) => { $request.$name.clone() };
    (@settled $request:ident, $model:ident, $name:ident, $resolved:ty) => { settle::$name($request, $model)? };
}

pub(super) use settings;
