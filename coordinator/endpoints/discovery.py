"""What bm-api says of itself to clients that look for groups and resources."""

from typing import Any

from coordinator.endpoints.subresources import (
    ATTACHMENTS,
    CLUSTER_WIDE,
    DPUS,
    GROUP,
    METHODS,
    NODES,
    RESOURCE,
    VERB_OF_METHOD,
    VERSION,
    Action,
)

KINDS = {RESOURCE: "BareMetalMachine", ATTACHMENTS: "VolumeAttachment", DPUS: "Dpu", NODES: "NetworkNode"}
MACHINE_GROUP = "dpupool.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GROUP_VERSION = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}


def verbs(action: Action) -> list[str]:
    """Verbs of an action, sorted."""
    return sorted({VERB_OF_METHOD[method] for method in METHODS[action]})


def resource_list() -> dict[str, Any]:
    """``APIResourceList`` of the group's version."""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{VERSION}",
        "resources": [
            {
                "name": action.path,
                "singularName": "",
                "namespaced": action.namespaced,
                "group": MACHINE_GROUP,
                "version": VERSION,
                "kind": KINDS[action.resource],
                "verbs": verbs(action),
            }
            for action in Action
        ],
    }


def group() -> dict[str, Any]:
    """``APIGroup`` of the group."""
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [GROUP_VERSION],
        "preferredVersion": GROUP_VERSION,
    }


def group_list() -> dict[str, Any]:
    """``APIGroupList`` of a server that has this group alone."""
    entry = {key: value for key, value in group().items() if key not in ("kind", "apiVersion")}
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [entry]}


def aggregated_group() -> dict[str, Any]:
    """The group's entry in an ``APIGroupDiscoveryList``."""
    resources = [_aggregated_resource(resource, kind) for resource, kind in KINDS.items()]
    version = {"version": VERSION, "freshness": "Current", "resources": resources}
    return {"metadata": {"name": GROUP, "creationTimestamp": None}, "versions": [version]}


def _aggregated_resource(resource: str, kind: str) -> dict[str, Any]:
    response_kind = {"group": MACHINE_GROUP, "version": VERSION, "kind": kind}
    subresources = [
        {"subresource": action.subresource, "responseKind": response_kind, "verbs": verbs(action)}
        for action in Action
        if action.resource == resource
    ]
    return {
        "resource": resource,
        "responseKind": response_kind,
        "scope": "Cluster" if resource in CLUSTER_WIDE else "Namespaced",
        "singularResource": "",
        "verbs": [],
        "subresources": subresources,
    }


def aggregated_list() -> dict[str, Any]:
    """``APIGroupDiscoveryList`` of a server that has this group alone."""
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [aggregated_group()],
    }


def openapi_index() -> dict[str, Any]:
    """``/openapi/v3`` of a server that has this group alone."""
    path = f"apis/{GROUP}/{VERSION}"
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"}}}


def openapi_document() -> dict[str, Any]:
    """OpenAPI v3 of the group: one path for each action."""
    return {
        "openapi": "3.0.0",
        "info": {"title": "dpupool bm-api", "version": VERSION},
        "paths": {_openapi_path(action): _operations(action) for action in Action},
        "components": {"schemas": {}},
    }


def _openapi_path(action: Action) -> str:
    root = f"/apis/{GROUP}/{VERSION}" + ("/namespaces/{namespace}" if action.namespaced else "")
    return f"{root}/{action.resource}/{{name}}/{action.subresource}"


def _operations(action: Action) -> dict[str, Any]:
    return {
        method.lower(): {
            "tags": [f"{GROUP}_{VERSION}"],
            "operationId": f"{verb}{KINDS[action.resource]}{action.subresource.capitalize()}",
            "responses": {"200": {"description": "OK"}},
        }
        for method in METHODS[action]
        for verb in (VERB_OF_METHOD[method],)
    }
