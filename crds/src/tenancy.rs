//! `spec.tenancy` and `spec.queryFrontend.tenancy`: who asks, and whose series the answer may have. Upstream has nothing
//! of it, so rules with messages of our own may stand here.
//!
//! A `///` here is what `kubectl explain` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose series an answer may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.header) && has(self.certificateField))",
    "message": "set header or certificateField, not both: with certificateField no header names the tenant"
}]))]
pub struct Tenancy {
    /// Answer only with series whose label labelName is the tenant who asks (--query.enforce-tenancy). It holds for what
    /// is asked over HTTP; whoever reaches the gRPC port, or may write the header, asks for any tenant.
    #[serde(default)]
    pub enforce: bool,

    /// The label that names the tenant in the series (--query.tenant-label-name). Default: tenant_id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[a-zA-Z_][a-zA-Z0-9_]*$')",
        "message": "a label name: letters, digits and _, not beginning with a digit"
    }]))]
    pub label_name: Option<String>,

    /// The request header that names the tenant (--query.tenant-header). The header THANOS-TENANT counts besides when
    /// this one is not there. The query frontend of this object takes the same. Default: THANOS-TENANT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[A-Za-z0-9][-A-Za-z0-9]*$')",
        "message": "a header name of letters, digits and -"
    }]))]
    pub header: Option<String>,

    /// The tenant of a request without the header (--query.default-tenant-id). It does not hold behind a query frontend:
    /// that writes default-tenant into the header. Default: default-tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[-_.A-Za-z0-9]+$')",
        "message": "a tenant of letters, digits, -, _ and ."
    }]))]
    pub default_tenant: Option<String>,

    /// Take the tenant from this field of the client's certificate, and not from a header: Organization,
    /// OrganizationalUnit or CommonName. It needs server.httpTls.clientCa, else every query fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_field: Option<TenantCertificateField>,
}

/// How the query frontend learns who asks, and tells the queriers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.header) && has(self.certificateField))",
    "message": "set header or certificateField, not both: with certificateField no header names the tenant"
}]))]
pub struct FrontendTenancy {
    /// The request header that names the tenant; the queriers get it as THANOS-TENANT, which they always take. Default:
    /// spec.tenancy.header, when the frontend asks the queriers of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[A-Za-z0-9][-A-Za-z0-9]*$')",
        "message": "a header name of letters, digits and -"
    }]))]
    pub header: Option<String>,

    /// The tenant of a request without the header in the frontend's own metrics. The queriers get default-tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^[-_.A-Za-z0-9]+$')",
        "message": "a tenant of letters, digits, -, _ and ."
    }]))]
    pub default_tenant: Option<String>,

    /// Take the tenant from this field of the client's certificate, and not from a header: Organization,
    /// OrganizationalUnit or CommonName. It needs server.httpTls.clientCa, and goes without a cache: Thanos would give
    /// one tenant what it cached for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_field: Option<TenantCertificateField>,
}

/// A field of a certificate's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs)] // a doc on a variant changes the schema and is not shown by `kubectl explain`
pub enum TenantCertificateField {
    Organization,
    OrganizationalUnit,
    CommonName,
}

// === impl TenantCertificateField ===

impl TenantCertificateField {
    /// As Thanos' flags take it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::OrganizationalUnit => "organizationalUnit",
            Self::CommonName => "commonName",
        }
    }
}
