//! Every object of the query frontend, whose parts have files of their own, and what is told about it.

use crds::{ThanosQuery, query_frontend::QueryFrontendSpec, server::Scheme};
use k8s_openapi::api::core::v1::VolumeMount;
use sd_agent::ThanosVersion;

use super::{
    Image, Known, Layer, Names, Told, WorkloadPlan, access, deployment, disruption_budget, downstream, drain,
    flaws, frontend, frontend_args, image, listen, monitor, pod, service, serving, tenancy,
};
use crate::{config::Config, discovery::QueryServiceChoice};

/// The queriers as the frontend sees them.
pub struct Asked<'a> {
    /// Names of all objects.
    pub names: &'a Names,
    /// Where they listen.
    pub queriers: &'a listen::Listen,
    /// How they are asked over HTTP, as far as that is known.
    pub scheme: Option<Scheme>,
    /// The path below which they serve.
    pub prefix: &'a str,
    /// What they run.
    pub image: &'a Image,
}

/// The frontend; none when its name is too long for its objects.
pub fn frontend_plan(
    query: &ThanosQuery,
    spec: &QueryFrontendSpec,
    asked: &Asked<'_>,
    known: &Known<'_>,
    config: &Config,
    told: &mut Told,
) -> Option<WorkloadPlan> {
    if let Err(error) = asked.names.check_long() {
        told.problems.push(format!("spec.queryFrontend: {error}; there is no frontend until then"));
        return None;
    }
    let workload = frontend::workload(query, asked.names, spec);
    let choice = match &known.query_service {
        Some(Err(error)) => {
            told.query_service = Some(error.to_string());
            None
        }
        Some(Ok(choice)) => Some(choice),
        None => Some(&QueryServiceChoice::Own),
    };
    let queriers = downstream::Queriers {
        // Whoever runs on with a URL that was found before asks as is said.
        choice: choice.unwrap_or(&QueryServiceChoice::Own),
        access: asked.queriers.http_access,
        scheme: asked.scheme,
    };
    let downstream = downstream::Downstream::of(&queriers, spec.downstream_tls.as_ref());
    let url = match choice {
        None => known.running.frontend.downstream_url.clone(),
        Some(choice) => {
            let (names, prefix) = (asked.names, asked.prefix);
            Some(frontend::downstream_url(choice, names, asked.queriers, prefix, downstream.scheme, config))
        }
    };
    let version = known.running.frontend_version(image::running_version(&asked.image.reference));
    let image = Image::of(workload.common, version.as_deref(), workload.layer.field());
    let image = image.map_err(|error| told.problems.push(error.to_string())).ok();
    let replicas = known.running.frontend.replicas(spec.replicas);
    let version = image.as_ref().map_or(ThanosVersion::Unknown, |image| image.version);
    told.flaws.extend(flaws::flaw(Layer::Frontend, version));
    let own_tenancy = query.spec.tenancy.as_ref().filter(|_| queriers.are_own());
    let asked =
        frontend_args::Asked { url: url.as_deref().unwrap_or_default(), downstream, tenancy: own_tenancy };
    let args = frontend_args::frontend_args(spec, version, &asked);
    let listen = listen::Listen::of(&args.args);
    let listen = listen::Listen { grpc: None, ..listen };
    let around = tenancy::Surroundings {
        queriers: queriers.access,
        frontend: Some((spec.tenancy.as_ref(), listen.http_access)),
        asks_own: queriers.are_own(),
    };
    let serving = serving::Serving::of_frontend(spec);
    let scheme = serving.scheme(&args.args);
    let deployment = image.zip(url).map(|(image, url)| {
        told.problems.extend(args.refused);
        told.remarks.extend(args.remarks);
        let given = workload.common.additional_args.as_deref().unwrap_or_default();
        let (problems, remarks) = (&mut told.problems, &mut told.remarks);
        downstream.tell(&queriers, spec.downstream_tls.as_ref(), given, problems, remarks);
        tenancy::tell(query.spec.tenancy.as_ref(), &around, problems, remarks);
        let (own, more) = (serving.files(), downstream.files());
        let mounts: Vec<VolumeMount> = own.mounts.into_iter().chain(more.mounts).collect();
        let asked = frontend::Asked { url: &url, may_refuse: queriers.may_refuse(), mounts: &mounts };
        let mut inputs = vec![image.reference.clone(), url.clone()];
        // What else is said elsewhere about these pods, only where it is: the hashes of others stay as they were.
        inputs.extend(queriers.may_refuse().then(|| "queriers may refuse".to_owned()));
        inputs.extend(tenancy::inherited_header(spec.tenancy.as_ref(), own_tenancy));
        let pod = pod::Pod {
            thanos: frontend::container(&workload, spec, &image, &args.args, &listen, &asked),
            sidecars: vec![],
            volumes: frontend::cache_volume(spec)
                .into_iter()
                .chain(own.volumes)
                .chain(more.volumes)
                .collect(),
            annotations: own.annotations,
            drain_seconds: drain::drain_seconds(&args.args, &[drain::HTTP_GRACE]),
            has_sleep: known.cluster.has_sleep(),
        };
        let template = pod.template(&workload, &mut told.problems);
        deployment::deployment(&workload, template, &replicas, &inputs)
    });
    Some(WorkloadPlan {
        service_account: access::service_account(&workload),
        service: service::frontend(&workload, &listen, &mut told.problems),
        disruption_budget: disruption_budget::disruption_budget(&workload, &replicas),
        monitor: monitor::monitor(&workload, scheme),
        deployment,
    })
}
