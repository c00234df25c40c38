import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseTemplate } from '../../../cli/deploy/sam/document.ts';
import { planTemplate, readTemplate, type TemplateOptions, type TemplatePlan } from '../../../cli/deploy/sam/template.ts';
import type { CodeSource } from '../../../cli/deploy/plan.ts';
import { CliError } from '../../../cli/errors.ts';
import { folderWith } from './capture.ts';

const OPTIONS: TemplateOptions = { account: '123456789012', region: 'eu-central-1', stack: 'shop' };

/** A function needs its code to be there; an inline one is always. */
function plan(text: string, options: Partial<TemplateOptions> = {}): TemplatePlan {
  return planTemplate(parseTemplate(text, 'template.yaml'), 'template.yaml', { ...OPTIONS, ...options });
}

function inlineFunction(properties: string, rest = ''): string {
  return `
Resources:
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: exports.handler = async () => 1
      Handler: index.handler
      Runtime: nodejs24.x
${properties.replace(/^/gm, '      ')}
${rest}`;
}

function imageFunction(properties: string, rest = ''): string {
  return `
Resources:
  Worker:
    Type: AWS::Serverless::Function
    Metadata: { Dockerfile: Dockerfile, DockerContext: ./app, DockerTag: v1 }
    Properties:
      PackageType: Image
${properties.replace(/^/gm, '      ')}
${rest}`;
}

function codeOf(text: string): CodeSource | undefined {
  const [first] = plan(text).functions;
  return first?.packageType === 'Zip' ? first.code : undefined;
}

function variablesOf(text: string, options: Partial<TemplateOptions> = {}): Readonly<Record<string, string>> | undefined {
  return plan(text, options).functions[0]?.environment;
}

describe('a SAM template', () => {
  it('becomes a plan with every property that Sluice acts on', async (t) => {
    const folder = await folderWith(t, {
      'src/app.py': '',
      'template.yaml': `
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: api
      Description: Answers
      CodeUri: src/
      Handler: app.lambda_handler
      Runtime: python3.13
      MemorySize: 512
      Timeout: "30"
      EphemeralStorage: { Size: 1024 }
      Architectures: [arm64]
      Tracing: Active
      Role: arn:aws:iam::123456789012:role/api
      Environment: { Variables: { STAGE: test, RETRIES: 3, DEBUG: true } }
      Tags: { team: blue }
`,
    });
    const { functions, notes } = await readTemplate(`${folder}/template.yaml`, OPTIONS);
    assert.deepEqual(notes, []);
    assert.deepEqual(functions, [
      {
        logicalId: 'Api',
        name: 'api',
        packageType: 'Zip',
        description: 'Answers',
        code: { kind: 'folder', path: `${folder}/src` },
        handler: 'app.lambda_handler',
        runtime: 'python3.13',
        memoryMiB: 512,
        timeoutSec: 30,
        ephemeralStorageMiB: 1024,
        architecture: 'arm64',
        vpc: { subnetIds: [], securityGroupIds: [], ipv6AllowedForDualStack: false },
        tracingMode: 'Active',
        role: 'arn:aws:iam::123456789012:role/api',
        environment: { STAGE: 'test', RETRIES: '3', DEBUG: 'true' },
        tags: { team: 'blue' },
      },
    ]);
  });

  it('gives functions without a name one made of stack and logical id, always the same', () => {
    assert.equal(plan(inlineFunction('')).functions[0]?.name, 'shop-Worker');
  });

  it("resets what it does not say to Lambda's defaults", () => {
    const [worker] = plan(inlineFunction('')).functions;
    assert.deepEqual([worker?.memoryMiB, worker?.timeoutSec, worker?.ephemeralStorageMiB, worker?.description, worker?.environment], [128, 3, 512, '', {}]);
  });

  it('merges Globals: maps by key, all else gives way to the function', () => {
    const [worker] = plan(
      inlineFunction('MemorySize: 256\nEnvironment: { Variables: { B: own, C: own } }\nTags: { x: own }', `
Globals:
  Function:
    MemorySize: 1024
    Timeout: 9
    Tags: { x: global, y: global }
    Environment: { Variables: { A: global, B: global } }
`),
    ).functions;
    assert.deepEqual([worker?.memoryMiB, worker?.timeoutSec], [256, 9]);
    assert.deepEqual(worker?.environment, { A: 'global', B: 'own', C: 'own' });
    assert.deepEqual(worker?.tags, { x: 'own', y: 'global' });
  });

  it('reads VpcConfig, adds the lists of Globals, and says where it takes effect', () => {
    const { functions, notes } = plan(
      inlineFunction("VpcConfig: { SecurityGroupIds: [sg-3, !Ref Group], SubnetIds: !Ref Subnets, Ipv6AllowedForDualStack: 'true' }", `
Globals:
  Function:
    VpcConfig: { SecurityGroupIds: [sg-1, sg-3] }
Parameters:
  Group: { Type: 'AWS::EC2::SecurityGroup::Id', Default: sg-2 }
  Subnets: { Type: 'List<AWS::EC2::Subnet::Id>', Default: 'subnet-1, subnet-2' }
`),
    );
    assert.deepEqual(functions[0]?.vpc, { securityGroupIds: ['sg-1', 'sg-3', 'sg-2'], subnetIds: ['subnet-1', 'subnet-2'], ipv6AllowedForDualStack: true });
    assert.deepEqual(notes, ['Worker: VpcConfig decides what the function may reach where functions run in pods of Kubernetes; anywhere else it is kept and shown only']);
  });

  it('reads code from an object in S3, as a URL or a map', () => {
    const code = (uri: string) => codeOf(inlineFunction(`CodeUri: ${uri}`).replace(/ +InlineCode.*\n/, ''));
    assert.deepEqual(code('s3://bucket/deep/key.zip'), { kind: 'object', bucket: 'bucket', key: 'deep/key.zip' });
    assert.deepEqual(code('{ Bucket: bucket, Key: key.zip }'), { kind: 'object', bucket: 'bucket', key: 'key.zip' });
  });

  it('reads a container image, with what takes the place of its own, and leaves its Metadata to sam build', () => {
    const { functions, notes } = plan(
      imageFunction('ImageUri: !Sub "${Registry}/orders:1.4"\nImageConfig: { EntryPoint: !Ref Entry, Command: [app.handler, --port, 8080, --port, ""], WorkingDirectory: /app }', `
Parameters:
  Registry: { Type: String, Default: 'registry.example.com:5000' }
  Entry: { Type: CommaDelimitedList, Default: '/lambda-entrypoint.sh, -v' }
Globals:
  Function: { MemorySize: 1024, Environment: { Variables: { A: global } } }
`),
    );
    assert.deepEqual(notes, []);
    assert.deepEqual(functions, [
      {
        logicalId: 'Worker',
        name: 'shop-Worker',
        packageType: 'Image',
        imageUri: 'registry.example.com:5000/orders:1.4',
        imageConfig: { entryPoint: ['/lambda-entrypoint.sh', '-v'], command: ['app.handler', '--port', '8080', '--port', ''], workingDirectory: '/app' },
        role: undefined,
        description: '',
        memoryMiB: 1024,
        timeoutSec: 3,
        ephemeralStorageMiB: 512,
        environment: { A: 'global' },
        tracingMode: 'PassThrough',
        architecture: undefined,
        vpc: { subnetIds: [], securityGroupIds: [], ipv6AllowedForDualStack: false },
        tags: {},
      },
    ]);
  });

  it('leaves to an image what it says nothing of', () => {
    const own = { entryPoint: undefined, command: undefined, workingDirectory: undefined };
    for (const config of ['', 'ImageConfig: {}', 'ImageConfig: { EntryPoint: [], Command: !Ref AWS::NoValue, WorkingDirectory: "" }']) {
      const [worker] = plan(imageFunction(`ImageUri: team/f:1\n${config}`)).functions;
      assert.deepEqual(worker?.packageType === 'Image' ? worker.imageConfig : undefined, own, config);
    }
  });

  it('takes the type of the package from Globals, and gives way to the function there too', () => {
    const globals = 'Globals: { Function: { PackageType: Image, ImageUri: team/f:1, ImageConfig: { Command: [global], WorkingDirectory: /app } } }';
    const [worker] = plan(imageFunction('ImageConfig: { Command: [own] }', globals).replace(/ +PackageType.*\n/, '')).functions;
    assert.deepEqual(worker?.packageType === 'Image' ? [worker.imageUri, worker.imageConfig.command, worker.imageConfig.workingDirectory] : [], ['team/f:1', ['own'], undefined]);
  });

  it('reads JSON as well as YAML', () => {
    const text = JSON.stringify({ Resources: { F: { Type: 'AWS::Serverless::Function', Properties: { InlineCode: 'x', Handler: 'index.h', Runtime: 'python3.12', Environment: { Variables: { R: { Ref: 'AWS::Region' } } } } } } });
    const [worker] = plan(text).functions;
    assert.deepEqual(worker?.environment, { R: 'eu-central-1' });
    assert.deepEqual(codeOf(text), { kind: 'inline', fileName: 'index.py', text: 'x' });
  });

  it('names what it leaves out instead of dropping it silently', () => {
    const { notes, buckets, functions } = plan(
      inlineFunction('Policies: [AmazonS3ReadOnlyAccess]\nEvents: { Upload: { Type: S3 } }\nLayers: [arn]', `
  Jobs:
    Type: AWS::SQS::Queue
  Files:
    Type: AWS::S3::Bucket
Conditions: { Never: false }
`),
    );
    assert.equal(functions.length, 1);
    assert.deepEqual(buckets, ['shop-files']);
    for (const word of ['Conditions', 'Jobs (AWS::SQS::Queue)', 'event Upload (S3)', 'Policies', 'Layers']) {
      assert.ok(notes.some((note) => note.includes(word)), `no note on ${word}`);
    }
    assert.ok(!notes.some((note) => note.includes('Files')));
  });
});

describe('references in a SAM template', () => {
  const parameters = `
Parameters:
  Stage: { Type: String, Default: test }
  Size: { Type: Number, Default: 3 }
`;

  it('resolve to parameters, pseudo parameters, resources and their ARNs', () => {
    const text = inlineFunction(
      `Environment:
  Variables:
    STAGE: !Ref Stage
    REGION: !Ref AWS::Region
    ACCOUNT: { Ref: "AWS::AccountId" }
    BUCKET: !Ref Files
    BUCKET_ARN: !GetAtt Files.Arn
    OTHER: !Ref Other
    OTHER_ARN: !GetAtt [Other, Arn]
    OWN_ARN: !GetAtt Worker.Arn
    NONE: !Ref AWS::NoValue
    TEXT: !Sub "\${AWS::StackName}-\${Stage}-\${Other.Arn}-\${!literal}"
    MAPPED: !Sub ["\${x}/\${Stage}", { x: !Ref Size }]
    JOINED: !Join [",", [a, !Ref Stage]]`,
      `
  Other:
    Type: AWS::Serverless::Function
    Properties: { FunctionName: !Sub "other-\${Stage}", InlineCode: x, Handler: index.h, Runtime: nodejs24.x }
  Files:
    Type: AWS::S3::Bucket
    Properties: { BucketName: files }
${parameters}`,
    );
    assert.deepEqual(variablesOf(text), {
      STAGE: 'test',
      REGION: 'eu-central-1',
      ACCOUNT: '123456789012',
      BUCKET: 'files',
      BUCKET_ARN: 'arn:aws:s3:::files',
      OTHER: 'other-test',
      OTHER_ARN: 'arn:aws:lambda:eu-central-1:123456789012:function:other-test',
      OWN_ARN: 'arn:aws:lambda:eu-central-1:123456789012:function:shop-Worker',
      TEXT: 'shop-test-arn:aws:lambda:eu-central-1:123456789012:function:other-test-${literal}',
      MAPPED: '3/test',
      JOINED: 'a,test',
    });
  });

  it('take the parameters given on the command line', () => {
    const text = inlineFunction('Environment: { Variables: { STAGE: !Ref Stage } }', parameters);
    assert.deepEqual(variablesOf(text, { parameters: { Stage: 'prod' } }), { STAGE: 'prod' });
  });

  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ['an unknown name', inlineFunction('Description: !Ref Nowhere'), /Worker\.Description: Nowhere is neither a parameter nor a resource/],
    ['a resource that is not made', inlineFunction('Description: !Ref Jobs', '  Jobs: { Type: AWS::SQS::Queue }'), /Jobs is AWS::SQS::Queue, which Sluice does not make/],
    ['an attribute other than Arn', inlineFunction('Description: !GetAtt Worker.Version'), /no attribute Version/],
    ['an intrinsic function that is not resolved', inlineFunction('Description: !ImportValue x'), /Fn::ImportValue is not an intrinsic function/],
    ['a list where a text is needed', inlineFunction('Description: !Sub ["${x}", { x: [1] }]'), /a text is needed/],
    ['a circle', 'Resources:\n' + ['A', 'B'].map((name, index) => `  ${name}: { Type: AWS::Serverless::Function, Properties: { FunctionName: !Sub "\${${'BA'[index]}}-x", InlineCode: x, Handler: a.b, Runtime: nodejs24.x } }\n`).join(''), /circular reference (A → B → A|B → A → B)/],
  ];
  for (const [what, text, message] of wrong) {
    it(`are refused for ${what}`, () => {
      assert.throws(() => plan(text), (error) => error instanceof CliError && message.test(error.message) && error.message.startsWith('template.yaml'));
    });
  }
});

describe('a wrong SAM template', () => {
  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ['is not YAML', 'a: [', /template\.yaml is not valid YAML: .*line 1/],
    ['has an unknown tag', 'Resources: { X: !Nope 1 }', /not valid YAML: .*!Nope/],
    ['is a list', '- a', /has no Resources/],
    ['has no resources', 'Description: x', /has no Resources/],
    ['has a resource without a type', 'Resources: { X: {} }', /X has no Type/],
    ['has no function', 'Resources: { X: { Type: AWS::S3::Bucket } }', /no AWS::Serverless::Function/],
    ['has a function without a handler', inlineFunction('').replace(/ +Handler.*\n/, ''), /Worker has no Handler/],
    ['has a function without code', inlineFunction('').replace(/ +InlineCode.*\n/, ''), /neither CodeUri nor InlineCode/],
    ['points at code that is not there', inlineFunction('CodeUri: nowhere').replace(/ +InlineCode.*\n/, ''), /Worker\.CodeUri: .*nowhere: no such file/],
    ['has a memory size that is no number', inlineFunction('MemorySize: much'), /Worker\.MemorySize must be a whole number, not "much"/],
    ['has an environment that is no map', inlineFunction('Environment: { Variables: [A] }'), /Environment\.Variables must be a map/],
    ['has a list of security groups that is a map', inlineFunction('VpcConfig: { SecurityGroupIds: { a: 1 } }'), /Worker\.VpcConfig\.SecurityGroupIds must be a list of texts/],
    ['has one of numbers', inlineFunction('VpcConfig: { SecurityGroupIds: [1] }'), /must be a list of texts/],
    ['has a flag that is none', inlineFunction('VpcConfig: { Ipv6AllowedForDualStack: maybe }'), /must be true or false, not "maybe"/],
    ['has an image by default', inlineFunction('ImageUri: team/f:1').replace(/ +InlineCode.*\n/, ''), /^template\.yaml: Worker: ImageUri cannot be given where PackageType is Zip, as it is by default; .* needs PackageType: Image\.$/],
    ['has a zip file and an image', inlineFunction('PackageType: Zip\nImageUri: team/f:1\nImageConfig: { Command: [x] }'), /Worker: ImageUri, ImageConfig cannot be given where PackageType is Zip; /],
    ['has an image and what runs a zip file', inlineFunction('PackageType: Image\nImageUri: team/f:1\nCodeUri: src/\nLayers: [arn]'), /^template\.yaml: Worker: Runtime, Handler, CodeUri, InlineCode, Layers cannot be given where PackageType is Image, neither there nor in Globals\.Function; /],
    ['has an image and a runtime for all', imageFunction('ImageUri: team/f:1', 'Globals: { Function: { Runtime: nodejs24.x } }'), /Worker: Runtime cannot be given where PackageType is Image/],
    ['has an image without a name', imageFunction(''), /^template\.yaml: Worker has no ImageUri, which PackageType Image needs: .* Sluice builds none from Metadata/],
    ['has a package of another type', inlineFunction('PackageType: Jar'), /Worker\.PackageType must be Zip or Image, not "Jar"/],
    ['has a misspelt part of an image\'s configuration', imageFunction('ImageUri: team/f:1\nImageConfig: { Cmd: [x] }'), /Worker\.ImageConfig must be a map with EntryPoint, Command, WorkingDirectory, not \{"Cmd":\["x"\]\}/],
    ['has an image\'s configuration that is a list', imageFunction('ImageUri: team/f:1\nImageConfig: [x]'), /Worker\.ImageConfig must be a map/],
    ['has a command that is a map', imageFunction('ImageUri: team/f:1\nImageConfig: { Command: { a: 1 } }'), /Worker\.ImageConfig\.Command must be a list of texts/],
    ['has one within', imageFunction('ImageUri: team/f:1\nImageConfig: { EntryPoint: [[a]] }'), /Worker\.ImageConfig\.EntryPoint must be a list of texts/],
    ['has a working directory that is a list', imageFunction('ImageUri: team/f:1\nImageConfig: { WorkingDirectory: [a] }'), /Worker\.ImageConfig\.WorkingDirectory must be a text/],
    ['asks for two architectures', inlineFunction('Architectures: [arm64, x86_64]'), /Architectures must be a list of either/],
    ['has a parameter without a value', inlineFunction('', 'Parameters: { Stage: { Type: String } }'), /Stage has no Default; give it with --parameter Stage=VALUE/],
    ['has a parameter with a value that is not allowed', inlineFunction('', 'Parameters: { Stage: { Type: String, Default: c, AllowedValues: [a, b] } }'), /Stage may be a, b, not c/],
    ['names two functions alike', inlineFunction('FunctionName: same', '  B: { Type: AWS::Serverless::Function, Properties: { FunctionName: same, InlineCode: x, Handler: a.b, Runtime: nodejs24.x } }'), /two functions are named same/],
  ];
  for (const [what, text, message] of wrong) {
    it(`is refused with a reason: ${what}`, () => {
      assert.throws(() => plan(text), (error) => error instanceof CliError && message.test(error.message));
    });
  }

  it('is refused when the command line gives a parameter that it does not have', () => {
    assert.throws(() => plan(inlineFunction(''), { parameters: { Stag: 'x' } }), /has no parameter Stag/);
  });
});
