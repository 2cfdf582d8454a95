//! The health check expressions for Flux, evaluated by the API server, which has Flux's own implementation of the language.

use amishare::api::crd;
use kube::{
    Api, Error,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::{
    block,
    health::{cases, customization, read},
};
use crate::harness::{Setup, World};

const GROUP: &str = "flux.test";
const DOES_NOT_HOLD: &str = "the expression does not hold";

/// A kind of which the API server takes only objects for which an expression holds; otherwise it is like AmiShare.
struct Judge {
    api: Api<DynamicObject>,
    resource: ApiResource,
}

impl Judge {
    async fn install(world: &World, kind: &str, expression: &str) -> Self {
        let (_, definition) = crd::all().into_iter().find(|(_, crd)| crd.spec.names.kind == "AmiShare").unwrap();
        let mut definition = serde_json::to_value(definition).unwrap();
        let plural = format!("{}s", kind.to_lowercase());
        definition["metadata"] = json!({"name": format!("{plural}.{GROUP}")});
        definition["spec"]["group"] = GROUP.into();
        // No short name and no category: other tests ask this API server for theirs.
        definition["spec"]["names"] = json!({"kind": kind, "plural": plural, "singular": kind.to_lowercase()});
        let version = &mut definition["spec"]["versions"][0];
        // Without the subresource an object comes with its status, in one piece.
        version.as_object_mut().unwrap().remove("subresources");
        let rule = expression.replace("status.conditions", "self.status.conditions");
        assert_ne!(rule, expression);
        version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
            json!([{"rule": rule, "message": DOES_NOT_HOLD}]);
        let version = version["name"].as_str().unwrap().to_owned();
        let apply = ["apply", "--server-side", "--filename=-"];
        world.kubectl_in(world.namespace(), &apply, &definition.to_string()).await.unwrap();
        let name = format!("crd/{plural}.{GROUP}");
        world.kubectl(&["wait", "--for=condition=Established", &name, "--timeout=60s"]).await;
        let kind = GroupVersionKind::gvk(GROUP, &version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
        Self { api: Api::namespaced_with(world.client.clone(), world.namespace(), &resource), resource }
    }

    /// Whether the expression holds for an AmiShare, or what is wrong with it there.
    async fn holds(&self, share: &Value) -> Result<bool, String> {
        let mut data = share.clone();
        data.as_object_mut().unwrap().retain(|part, _| part == "spec" || part == "status");
        let object = DynamicObject::new("share", &self.resource).data(data);
        match self.api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await {
            Ok(_) => Ok(true),
            // The message of an expression that cannot be evaluated ends with that of one that does not hold.
            Err(Error::Api(status)) if status.message.contains("evaluating rule") => Err(status.message.clone()),
            Err(Error::Api(status)) if status.message.contains(DOES_NOT_HOLD) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[tokio::test]
async fn flux_and_argo_cd_say_the_same_of_an_amishare() {
    let world = World::without_operator(Setup::default()).await;
    let kustomization: Value = serde_yaml::from_str(&block("healthCheckExprs")).unwrap();
    let check = &kustomization["spec"]["healthCheckExprs"][0];
    assert_eq!((&check["apiVersion"], &check["kind"]), (&json!("amishare.dev/v1alpha1"), &json!("AmiShare")));
    let failed = Judge::install(&world, "FluxFailed", check["failed"].as_str().unwrap()).await;
    let current = Judge::install(&world, "FluxCurrent", check["current"].as_str().unwrap()).await;
    let mut compared = 0;
    for case in cases("AmiShare") {
        // Flux does not ask about what is being deleted, and two of the others no operator writes: the health script is stricter.
        let theirs = ["terminating", "restored_without", "one_part_is_stale"];
        if theirs.iter().any(|name| case.input_path.contains(name)) {
            continue;
        }
        let share = read(&customization("AmiShare").join(&case.input_path));
        let observed = &share["status"]["observedGeneration"];
        // In this order, as fluxcd/pkg/runtime/cel does it. What cannot be evaluated is waited for.
        let said = if !observed.is_null() && *observed != share["metadata"]["generation"] {
            "InProgress"
        } else {
            match (failed.holds(&share).await, current.holds(&share).await) {
                (Ok(true), _) => "Failed",
                (Ok(false), Ok(true)) => "Current",
                (Ok(false), Ok(false)) => "InProgress",
                (Err(why), _) | (_, Err(why)) => {
                    assert!(share["status"].is_null() && why.contains("no such key: status"), "{why}");
                    "InProgress"
                }
            }
        };
        let expected = match case.health_status.status.as_str() {
            // Flux knows nothing between the two: what is not in force on purpose must not hold up the rest.
            "Healthy" | "Suspended" => "Current",
            "Degraded" => "Failed",
            _ => "InProgress",
        };
        assert_eq!(said, expected, "{}", case.input_path);
        compared += 1;
    }
    assert!(compared >= 15, "{compared}");
}
