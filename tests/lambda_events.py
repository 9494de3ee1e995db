"""Events of the services that invoke a function, as AWS documents them.

Each is a POST of text without a content type. `changed` turns it into another request.
"""

import base64
from collections.abc import Mapping
from typing import Any

# https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
FUNCTION_URL: Mapping[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/my/path",
    "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
    "cookies": ["cookie1", "cookie2"],
    "headers": {"header1": "value1", "header2": "value1,value2"},
    "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "value"},
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "<urlid>",
        "authentication": None,
        "authorizer": {"iam": {"accessKey": "AKIA...", "cognitoIdentity": None, "principalOrgId": None}},
        "domainName": "<url-id>.lambda-url.us-west-2.on.aws",
        "domainPrefix": "<url-id>",
        "http": {
            "method": "POST",
            "path": "/my/path",
            "protocol": "HTTP/1.1",
            "sourceIp": "123.123.123.123",
            "userAgent": "agent",
        },
        "requestId": "request-1",
        "routeKey": "$default",
        "stage": "$default",
        "time": "12/Mar/2020:19:03:58 +0000",
        "timeEpoch": 1583348638390,
    },
    "body": "Hello from client!",
    "pathParameters": None,
    "isBase64Encoded": False,
    "stageVariables": None,
}

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html, format 2.0.
# With a named stage, `rawPath` begins with it: https://github.com/aws-powertools/powertools-lambda-python/issues/621
HTTP_API: Mapping[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/prod/my/path",
    "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
    "cookies": ["cookie1", "cookie2"],
    "headers": {"header1": "value1", "header2": "value1,value2"},
    "queryStringParameters": {"parameter1": "value1,value2", "parameter2": "value"},
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "api-id",
        "authorizer": {"jwt": {"claims": {"claim1": "value1"}, "scopes": ["scope1", "scope2"]}},
        "domainName": "id.execute-api.us-east-1.amazonaws.com",
        "domainPrefix": "id",
        "http": {
            "method": "POST",
            "path": "/prod/my/path",
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.1",
            "userAgent": "agent",
        },
        "requestId": "request-1",
        "routeKey": "$default",
        "stage": "prod",
        "time": "12/Mar/2020:19:03:58 +0000",
        "timeEpoch": 1583348638390,
    },
    "body": "Hello from Lambda",
    "pathParameters": {"parameter1": "value1"},
    "isBase64Encoded": False,
    "stageVariables": {"stageVariable1": "value1"},
}

# The same page, format 1.0.
HTTP_API_1: Mapping[str, Any] = {
    "version": "1.0",
    "resource": "/my/path",
    "path": "/prod/my/path",
    "httpMethod": "POST",
    "headers": {"header1": "value1", "header2": "value2"},
    "multiValueHeaders": {"header1": ["value1"], "header2": ["value1", "value2"]},
    "queryStringParameters": {"parameter1": "value1", "parameter2": "value"},
    "multiValueQueryStringParameters": {"parameter1": ["value1", "value2"], "parameter2": ["value"]},
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "id",
        "authorizer": {"claims": None, "scopes": None},
        "domainName": "id.execute-api.us-east-1.amazonaws.com",
        "domainPrefix": "id",
        "extendedRequestId": "request-id",
        "httpMethod": "POST",
        "identity": {"accessKey": None, "sourceIp": "192.0.2.1", "userAgent": "user-agent", "userArn": None},
        "path": "/prod/my/path",
        "protocol": "HTTP/1.1",
        "requestId": "request-1",
        "requestTime": "04/Mar/2020:19:15:17 +0000",
        "requestTimeEpoch": 1583349317135,
        "resourceId": None,
        "resourcePath": "/my/path",
        "stage": "prod",
    },
    "pathParameters": None,
    "stageVariables": None,
    "body": "Hello from Lambda!",
    "isBase64Encoded": False,
}

# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html#api-gateway-simple-proxy-for-lambda-input-format
# `path` is without the stage, except behind a domain of one's own: https://github.com/localstack/localstack/pull/12296
REST_API: Mapping[str, Any] = {
    "resource": "/{proxy+}",
    "path": "/hello/world",
    "httpMethod": "POST",
    "headers": {
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "headerName": "headerValue",
        "Host": "gy415nuibc.execute-api.us-east-1.amazonaws.com",
        "X-Forwarded-For": "192.0.2.2, 192.0.2.3",
    },
    "multiValueHeaders": {
        "Accept": ["*/*"],
        "Accept-Encoding": ["gzip, deflate"],
        "headerName": ["headerValue"],
        "Host": ["gy415nuibc.execute-api.us-east-1.amazonaws.com"],
        "X-Forwarded-For": ["192.0.2.2, 192.0.2.3"],
    },
    "queryStringParameters": {"name": "me", "multivalueName": "me"},
    "multiValueQueryStringParameters": {"name": ["me"], "multivalueName": ["you", "me"]},
    "pathParameters": {"proxy": "hello/world"},
    "stageVariables": {"stageVariableName": "stageVariableValue"},
    "requestContext": {
        "accountId": "12345678912",
        "resourceId": "roq9wj",
        "path": "/testStage/hello/world",
        "stage": "testStage",
        "requestId": "request-1",
        "identity": {"accountId": None, "apiKey": None, "sourceIp": "192.0.2.2", "userArn": None},
        "resourcePath": "/{proxy+}",
        "httpMethod": "POST",
        "apiId": "gy415nuibc",
    },
    "body": '{\r\n\t"a": 1\r\n}',
    "isBase64Encoded": False,
}

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html#receive-event-from-load-balancer
LOAD_BALANCER: Mapping[str, Any] = {
    "requestContext": {
        "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:region:123456789012:targetgroup/target-group/6d0ecf83"}
    },
    "httpMethod": "POST",
    "path": "/",
    "queryStringParameters": {},
    "headers": {
        "accept": "text/html,application/xhtml+xml",
        "host": "lambda-846800462-us-east-2.elb.amazonaws.com",
        "x-amzn-trace-id": "Root=1-5bdb40ca-556d8b0c50dc66f0511bf520",
        "x-forwarded-for": "192.0.2.4",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    },
    "isBase64Encoded": False,
    "body": "request_body",
}

# The same page, #multi-value-headers: the event then has no `headers`.
LOAD_BALANCER_MULTI: Mapping[str, Any] = {
    "multiValueHeaders": {name: [value] for name, value in LOAD_BALANCER["headers"].items()},
    "multiValueQueryStringParameters": {},
} | {key: value for key, value in LOAD_BALANCER.items() if key not in ("headers", "queryStringParameters")}

# The same page, #enable-health-checks-lambda.
HEALTH_CHECK: Mapping[str, Any] = {
    "requestContext": LOAD_BALANCER["requestContext"],
    "httpMethod": "GET",
    "path": "/",
    "queryStringParameters": {},
    "headers": {"user-agent": "ELB-HealthChecker/2.0"},
    "body": "",
    "isBase64Encoded": False,
}

EVENTS: Mapping[str, Mapping[str, Any]] = {
    "function URL": FUNCTION_URL,
    "HTTP API": HTTP_API,
    "HTTP API, format 1.0": HTTP_API_1,
    "REST API": REST_API,
    "load balancer": LOAD_BALANCER,
    "load balancer, multi-value headers": LOAD_BALANCER_MULTI,
}


def changed(
    event: Mapping[str, Any],
    path: str,
    body: bytes | str | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
) -> dict[str, Any]:
    """Return the event of a request with this path, as the function sees it; bytes are marked as base64.

    The headers are added to those of the event.
    """
    new = dict(event) | {"body": body, "isBase64Encoded": isinstance(body, bytes)}
    if isinstance(body, bytes):
        new["body"] = base64.b64encode(body).decode()
    if "headers" in event:
        new["headers"] = event["headers"] | dict(headers or {})
    if "multiValueHeaders" in event:
        new["multiValueHeaders"] = event["multiValueHeaders"] | {
            name: [value] for name, value in (headers or {}).items()
        }
    if "httpMethod" in event:
        return new | {"path": path, "httpMethod": method}
    context = event["requestContext"]
    http = context["http"] | {"method": method, "path": path}
    return new | {"rawPath": path, "requestContext": context | {"http": http}}
