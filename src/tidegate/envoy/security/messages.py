"""The messages of RBAC, external authorization and tokens, as :mod:`tidegate.envoy.protos` has the others."""

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2
from envoy.type.matcher.v3 import metadata_pb2, path_pb2, regex_pb2, string_pb2, value_pb2
from envoy.type.v3 import http_status_pb2

Rbac = rbac_pb2.RBAC
RbacPolicy = rbac_pb2.Policy
Permission = rbac_pb2.Permission
Principal = rbac_pb2.Principal
HttpRbac = http_rbac_pb2.RBAC
NetworkRbac = network_rbac_pb2.RBAC

HttpExtAuthz = ext_authz_pb2.ExtAuthz
HttpAuthorizer = ext_authz_pb2.HttpService
NetworkExtAuthz = network_ext_authz_pb2.ExtAuthz
StatusCode = http_status_pb2.StatusCode

JwtAuthentication = jwt_pb2.JwtAuthentication
JwtProvider = jwt_pb2.JwtProvider
JwtRequirement = jwt_pb2.JwtRequirement
RequirementRule = jwt_pb2.RequirementRule

UriTemplateMatch = uri_template_match_pb2.UriTemplateMatchConfig
StringMatcher = string_pb2.StringMatcher
ListStringMatcher = string_pb2.ListStringMatcher
RegexMatcher = regex_pb2.RegexMatcher
PathMatcher = path_pb2.PathMatcher
MetadataMatcher = metadata_pb2.MetadataMatcher
ValueMatcher = value_pb2.ValueMatcher
