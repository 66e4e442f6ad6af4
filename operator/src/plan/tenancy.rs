//! Whose series an answer may have: arguments of queriers and frontend, and what of it cannot work together.
//!
//! A frontend takes the tenant from its header or its client's certificate, and gives it to the queriers as
//! `THANOS-TENANT` whatever their header is called; without one it writes `default-tenant` there (read from
//! `pkg/tenancy` of v0.35 to v0.42).

use crds::tenancy::{FrontendTenancy, Tenancy};

use super::{arg::Arg, listen::HttpAccess};

const FIELD: &str = "spec.tenancy";
const FRONTEND_FIELD: &str = "spec.queryFrontend.tenancy";
/// What a frontend writes when nobody says who asks.
const DEFAULT_TENANT: &str = "default-tenant";

/// What decides whether it works.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// What the queriers want of whoever asks.
    pub queriers: HttpAccess,
    /// The frontend that asks them, with what it wants of whoever asks.
    pub frontend: Option<(Option<&'a FrontendTenancy>, HttpAccess)>,
    /// Whether it asks the queriers of the same object.
    pub asks_own: bool,
}

/// Arguments of the queriers.
pub fn querier_args(tenancy: Option<&Tenancy>) -> Vec<Arg> {
    let Some(tenancy) = tenancy else { return vec![] };
    let Tenancy { enforce, label_name, header, default_tenant, certificate_field } = tenancy;
    let mut args = Vec::new();
    if *enforce {
        args.push(Arg::switch("--query.enforce-tenancy").of("spec.tenancy.enforce"));
    }
    let certificate_field = certificate_field.map(|field| field.as_str().to_owned());
    args.extend(
        [
            value("--query.tenant-label-name", label_name, "spec.tenancy.labelName"),
            value("--query.tenant-header", header, "spec.tenancy.header"),
            value("--query.default-tenant-id", default_tenant, "spec.tenancy.defaultTenant"),
            value("--query.tenant-certificate-field", &certificate_field, "spec.tenancy.certificateField"),
        ]
        .into_iter()
        .flatten(),
    );
    args
}

/// Arguments of the frontend; `queriers` is what is said of those that it asks, when they are of the same object.
pub fn frontend_args(own: Option<&FrontendTenancy>, queriers: Option<&Tenancy>) -> Vec<Arg> {
    let nothing = FrontendTenancy::default();
    let FrontendTenancy { header, default_tenant, certificate_field } = own.unwrap_or(&nothing);
    let certificate_field = certificate_field.map(|field| field.as_str().to_owned());
    let header = match header {
        Some(_) => value("--query-frontend.tenant-header", header, "spec.queryFrontend.tenancy.header"),
        None => {
            value("--query-frontend.tenant-header", &inherited_header(own, queriers), "spec.tenancy.header")
        }
    };
    [
        header,
        value(
            "--query-frontend.default-tenant-id",
            default_tenant,
            "spec.queryFrontend.tenancy.defaultTenant",
        ),
        value(
            "--query-frontend.tenant-certificate-field",
            &certificate_field,
            "spec.queryFrontend.tenancy.certificateField",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The header that the frontend takes because the queriers do.
pub fn inherited_header(own: Option<&FrontendTenancy>, queriers: Option<&Tenancy>) -> Option<String> {
    let is_said = own.is_some_and(|own| own.header.is_some());
    queriers.filter(|_| !is_said).and_then(|queriers| queriers.header.clone())
}

/// Tells what cannot work. It is left as it is all the same: without it queries would be answered that shall not be.
pub fn tell(
    tenancy: Option<&Tenancy>,
    around: &Surroundings<'_>,
    problems: &mut Vec<String>,
    remarks: &mut Vec<String>,
) {
    let asks_no_certificate = |access| matches!(access, HttpAccess::Plain | HttpAccess::Tls);
    let by_certificate = tenancy.is_some_and(|tenancy| tenancy.certificate_field.is_some());
    if by_certificate && asks_no_certificate(around.queriers) {
        problems.push(format!(
            "{FIELD}.certificateField: the queriers ask for no client certificate, so every query fails; set \
             spec.server.httpTls.clientCa"
        ));
    }
    let Some((frontend, access)) = around.frontend else { return };
    if frontend.is_some_and(|own| own.certificate_field.is_some()) && asks_no_certificate(access) {
        problems.push(format!(
            "{FRONTEND_FIELD}.certificateField: the frontend asks for no client certificate, so every query fails; \
             set spec.queryFrontend.server.httpTls.clientCa"
        ));
    }
    if !around.asks_own {
        return;
    }
    if by_certificate {
        problems.push(format!(
            "{FIELD}.certificateField: to the queriers every query of the frontend comes from the frontend's \
             certificate, so all are of one tenant; set {FRONTEND_FIELD}.certificateField instead"
        ));
    }
    let default = tenancy.and_then(|tenancy| tenancy.default_tenant.as_deref());
    if default.is_some_and(|default| default != DEFAULT_TENANT) {
        remarks.push(format!(
            "{FIELD}.defaultTenant: has no effect behind the query frontend, which says {DEFAULT_TENANT} of a request \
             without a tenant"
        ));
    }
}

fn value(name: &str, value: &Option<String>, field: &'static str) -> Option<Arg> {
    value.as_deref().filter(|value| !value.is_empty()).map(|value| Arg::value(name, value).of(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenancy(fields: &str) -> Tenancy {
        serde_saphyr::from_str(&format!("{{{fields}}}")).expect("a tenancy")
    }

    fn frontend(fields: &str) -> FrontendTenancy {
        serde_saphyr::from_str(&format!("{{{fields}}}")).expect("a tenancy")
    }

    fn texts(args: Vec<Arg>) -> Vec<String> {
        args.iter().map(ToString::to_string).collect()
    }

    fn told(queriers: &Tenancy, around: Surroundings<'_>) -> (Vec<String>, Vec<String>) {
        let (mut problems, mut remarks) = (vec![], vec![]);
        tell(Some(queriers), &around, &mut problems, &mut remarks);
        (problems, remarks)
    }

    const ALONE: Surroundings<'_> =
        Surroundings { queriers: HttpAccess::Plain, frontend: None, asks_own: false };

    #[test]
    fn every_field_is_a_flag_of_the_queriers() {
        let all = tenancy(
            "enforce: true, labelName: team, header: X-Team, defaultTenant: nobody, certificateField: CommonName",
        );
        assert_eq!(
            texts(querier_args(Some(&all))),
            [
                "--query.enforce-tenancy",
                "--query.tenant-label-name=team",
                "--query.tenant-header=X-Team",
                "--query.default-tenant-id=nobody",
                "--query.tenant-certificate-field=commonName",
            ]
        );
        assert!(querier_args(Some(&tenancy(""))).is_empty() && querier_args(None).is_empty());
    }

    #[test]
    fn a_frontend_takes_the_header_of_its_queriers_unless_it_has_its_own() {
        let queriers = tenancy("header: X-Team, defaultTenant: nobody");
        assert_eq!(texts(frontend_args(None, Some(&queriers))), ["--query-frontend.tenant-header=X-Team"]);
        let own = frontend("header: X-Own, defaultTenant: someone, certificateField: OrganizationalUnit");
        assert_eq!(
            texts(frontend_args(Some(&own), Some(&queriers))),
            [
                "--query-frontend.tenant-header=X-Own",
                "--query-frontend.default-tenant-id=someone",
                "--query-frontend.tenant-certificate-field=organizationalUnit",
            ]
        );
        assert!(frontend_args(None, None).is_empty());
    }

    #[test]
    fn a_tenant_from_a_certificate_needs_somebody_who_asks_for_one() {
        let by_certificate = tenancy("certificateField: Organization");
        let (problems, _) = told(&by_certificate, ALONE);
        assert!(problems[0].starts_with("spec.tenancy.certificateField: "), "{problems:?}");
        for access in [HttpAccess::ClientTls, HttpAccess::Unread] {
            assert_eq!(told(&by_certificate, Surroundings { queriers: access, ..ALONE }).0, [""; 0]);
        }
        let own = frontend("certificateField: Organization");
        let around = Surroundings { frontend: Some((Some(&own), HttpAccess::Tls)), asks_own: true, ..ALONE };
        let (problems, _) = told(&tenancy(""), around);
        assert!(problems[0].starts_with("spec.queryFrontend.tenancy.certificateField: "), "{problems:?}");
    }

    #[test]
    fn what_a_frontend_in_front_makes_of_it_is_told() {
        let around = Surroundings {
            queriers: HttpAccess::ClientTls,
            frontend: Some((None, HttpAccess::Plain)),
            asks_own: true,
        };
        let (problems, _) = told(&tenancy("certificateField: Organization"), around);
        assert!(
            problems[0].contains("set spec.queryFrontend.tenancy.certificateField instead"),
            "{problems:?}"
        );
        let (_, remarks) = told(&tenancy("defaultTenant: nobody"), around);
        assert!(remarks[0].starts_with("spec.tenancy.defaultTenant: has no effect"), "{remarks:?}");
        assert_eq!(
            told(&tenancy("defaultTenant: nobody"), Surroundings { asks_own: false, ..around }).1,
            [""; 0]
        );
    }
}
